# Reference outputs on the tables of make_variants.py, by packages of Debian 12: R 4.2.2, sva 3.46.0,
# mgcv 1.8-41, nlme 3.1-162, lme4 1.1-31. Rscript variants.R FOLDER
suppressMessages({library(sva); library(mgcv); library(nlme); library(lme4)})
folder <- commandArgs(TRUE)[1]
covars <- read.csv(file.path(folder, "covariates.csv"), stringsAsFactors = TRUE)
Y <- as.matrix(read.csv(file.path(folder, "features.csv")))
site <- covars$SITE
n <- nrow(Y); p <- ncol(Y); sites <- levels(site); share <- as.vector(table(site)) / n
keep <- function(x, name) write.table(format(unname(as.matrix(x)), digits = 17, trim = TRUE),
  file.path(folder, paste0(name, ".csv")), sep = ",", quote = FALSE, row.names = FALSE, col.names = FALSE)

# ComBat: every combination that sva offers ---------------------------------------------------------------
designs <- list(none = NULL, age = model.matrix(~age, covars)[, -1, drop = FALSE],
                all = model.matrix(~age + dose + group, covars)[, -1])
for (design in names(designs)) for (prior in c(TRUE, FALSE)) for (mean.only in c(FALSE, TRUE)) for (ref in c("", "east")) {
  out <- suppressMessages(ComBat(t(Y), site, mod = designs[[design]], par.prior = prior, mean.only = mean.only,
                                 ref.batch = if (ref == "") NULL else ref))
  keep(t(out), paste("combat", design, ifelse(prior, "parametric", "nonparametric"),
                     ifelse(mean.only, "mean", "full"), ifelse(ref == "", "pooled", ref), sep = "_"))
}

# Location and scale by site without shrinkage, around any mean `target` and spread `sd` -------------------
by.site <- function(target, sd) {
  z <- (Y - target) / sd
  for (s in sites) z[site == s, ] <- scale(z[site == s, ])
  z * sd + target
}
# `predicted`: one column per site, as if every sample had been there
pooled <- function(predicted) predicted %*% share
own <- function(predicted) predicted[cbind(seq_len(n), as.integer(site))]
everywhere <- function(fit, ...) sapply(sites, function(s) {
  moved <- covars; moved$SITE <- factor(s, sites); as.vector(predict(fit, newdata = moved, ...)) })
around <- function(model) {
  target <- sd <- Y
  for (v in seq_len(p)) {
    covars$y <<- Y[, v] / mean(Y[, v])
    one <- model()
    target[, v] <- one$target * mean(Y[, v]); sd[, v] <- one$sd * mean(Y[, v])
  }
  by.site(target, sd)
}
rms <- function(fit) { hat <- everywhere(fit); list(target = pooled(hat), sd = sqrt(mean((covars$y - own(hat))^2))) }

# ComBat-GAM: mgcv's penalties, one and two smooth terms ---------------------------------------------------
tight <- list(epsilon = 1e-12, newton = list(conv.tol = 1e-10))
# mgcv follows the criterion downhill from one start: its lowest valley is found by a scan.
lowest <- function(formula) function() {
  at <- function(power) gam(formula, data = covars, method = "GCV.Cp", sp = 10^power)
  scan <- seq(-5, 7, 0.5)
  best <- scan[which.min(sapply(scan, function(power) at(power)$gcv.ubre))]
  rms(at(optimize(function(power) log(at(power)$gcv.ubre), best + c(-0.5, 0.5), tol = 1e-9)$minimum))
}
restricted <- function(formula) function() rms(gam(formula, data = covars, method = "REML", control = tight))
keep(around(lowest(y ~ s(age) + group + SITE)), "gam_age_gcv")
keep(around(restricted(y ~ s(age) + group + SITE)), "gam_age_reml")
keep(around(restricted(y ~ s(age) + s(dose) + group + SITE)), "gam_age_dose_reml")

# ComBatLS: normal regression of mean and log spread by maximum likelihood (nlme::gls) ---------------------
ls.model <- function(fixed, weights, extra) function() {
  fit <- gls(fixed, data = covars, weights = weights, method = "ML",
             control = glsControl(tolerance = 1e-12, msTol = 1e-14, maxIter = 500, msMaxIter = 1000, opt = "nlminb"))
  ratio <- coef(fit$modelStruct$varStruct$A, unconstrained = FALSE, allCoef = TRUE)[sites]
  list(target = pooled(everywhere(fit)), sd = fit$sigma * exp(sum(share * log(ratio))) * extra(fit, coef(fit$modelStruct$varStruct$B)))
}
keep(around(ls.model(y ~ SITE + age, varComb(A = varIdent(form = ~1 | SITE), B = varExp(form = ~age)),
                     function(fit, rate) exp(rate * covars$age))), "combatls_age")

# Longitudinal: random intercept per subject by restricted maximum likelihood (lme4) -----------------------
mixed <- function(formula) function() {
  fit <- lmer(formula, data = covars, REML = TRUE, control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12)))
  hat <- everywhere(fit, re.form = NA)
  list(target = pooled(hat) + fitted(fit) - own(hat), sd = sigma(fit))
}
shifted <- function(formula) {
  Z <- Y
  for (v in seq_len(p)) {
    covars$y <<- Y[, v] / mean(Y[, v])
    hat <- everywhere(lmer(formula, data = covars, control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12))), re.form = NA)
    Z[, v] <- Y[, v] - mean(Y[, v]) * (own(hat) - pooled(hat))
  }
  Z
}
covars$age.dose <- covars$age * covars$dose
keep(around(mixed(y ~ age + SITE + (1 | subject))), "longitudinal_age")
keep(around(mixed(y ~ age + dose + age.dose + group + SITE + (1 | subject))), "longitudinal_interaction")
keep(shifted(y ~ age + dose + group + SITE + (1 | subject)), "mixed_residual")

# CovBat: sva's ComBat, then sites' means and variances of the leading component scores (stats::prcomp) ----
covbat <- function(chosen, ref = NULL, design = designs$all) {
  first <- t(suppressMessages(ComBat(t(Y), site, mod = design, ref.batch = ref)))
  weights <- if (is.null(ref)) share else as.numeric(sites == ref)
  mean.model <- lm(Y ~ site + design)
  at <- matrix(rep(weights %*% rbind(0, coef(mean.model)[2:3, ]), each = n), n)
  target <- model.matrix(mean.model)[, -(2:3)] %*% coef(mean.model)[-(2:3), ] + at
  parts <- prcomp(first - target, center = TRUE, scale. = TRUE)
  k <- chosen(cumsum(parts$sdev^2) / sum(parts$sdev^2))
  s <- parts$x[, 1:k, drop = FALSE]
  hat <- fitted(lm(s ~ site)); dim(hat) <- dim(s)
  used <- if (is.null(ref)) rep(TRUE, n) else site == ref
  grand <- matrix(colMeans(s[used, , drop = FALSE]), n, k, byrow = TRUE)
  sd <- matrix(sqrt(colMeans((s - hat)[used, , drop = FALSE]^2)), n, k, byrow = TRUE)
  z <- (s - grand) / sd
  for (i in setdiff(sites, ref)) z[site == i, ] <- scale(z[site == i, ])
  moved <- parts$x; moved[, 1:k] <- z * sd + grand
  back <- moved %*% t(parts$rotation)
  sweep(sweep(back, 2, parts$scale, "*"), 2, parts$center, "+") + target
}
for (part in c(50, 80, 99)) keep(covbat(function(cumulative) which(cumulative > part / 100)[1]), paste0("covbat_explained", part))
for (k in c(1, 3, 14)) keep(covbat(function(cumulative) k), paste0("covbat_components", k))
keep(covbat(function(cumulative) 5, ref = "east"), "covbat_east")

# A site that the fit has not seen (as ComBatFamily's predict): the stored mean model, its own shift and scale,
# shrunk with sva's own functions
known <- site != "east"
model <- lm(Y[known, ] ~ factor(site[known]) + designs$all[known, ])
weights <- table(factor(site[known])) / sum(known)
slopes <- coef(model)[-(1:2), ]
intercept <- coef(model)[1, ] + weights[2] * coef(model)[2, ]
sd.pooled <- sqrt(colMeans(residuals(model)^2))
target <- sweep(designs$all[!known, ] %*% slopes, 2, intercept, "+")
z <- t(sweep(Y[!known, ] - target, 2, sd.pooled, "/"))
gamma <- rowMeans(z); delta <- apply(z, 1, var)
prior <- list(a = sva:::aprior(delta), b = sva:::bprior(delta))
star <- sva:::it.sol(z, gamma, delta, mean(gamma), var(gamma), prior$a, prior$b)
keep(sweep(t((z - star[1, ]) / sqrt(star[2, ])), 2, sd.pooled, "*") + target, "unseen_east")
