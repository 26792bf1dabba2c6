"""Fully Bayesian ComBat by Hamiltonian Monte Carlo (numpyro 0.22): posterior means and their errors.

``python bayes.py VARIANTS OUT`` in an environment apart; four chains of 5000 draws, some minutes.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from numpyro.diagnostics import summary
from numpyro.infer import MCMC, NUTS

numpyro.set_host_device_count(1)
jax.config.update("jax_enable_x64", True)


def model(z, c, index, n_sites):
    """As in BayesComBat's docstring, with its hyperpriors."""
    p, k = z.shape[1], c.shape[1]
    b = numpyro.sample("b", dist.ImproperUniform(dist.constraints.real, (), (k, p)))
    mu = numpyro.sample("mu", dist.Normal(0.0, 10.0).expand([n_sites]))
    tau2 = numpyro.sample("tau2", dist.InverseGamma(1.0, 0.05).expand([n_sites]))
    log_shape = numpyro.sample("log_shape", dist.Uniform(np.log(2.05), np.log(500.0)).expand([n_sites]))
    theta = numpyro.sample("theta", dist.Gamma(1.0, 1e-3).expand([n_sites]))
    shift = numpyro.sample("shift", dist.Normal(0.0, 1.0).expand([n_sites, p]))
    gamma = numpyro.deterministic("gamma", mu[:, None] + jnp.sqrt(tau2)[:, None] * shift)
    delta = numpyro.sample(
        "delta", dist.InverseGamma(jnp.exp(log_shape)[:, None], theta[:, None]).expand([n_sites, p])
    )
    numpyro.sample("z", dist.Normal(c @ b + gamma[index], jnp.sqrt(delta)[index]), obs=z)
    numpyro.deterministic("harmonized", (z - c @ b - gamma[index]) / jnp.sqrt(delta)[index] + c @ b)


def main(folder: Path, out: Path) -> None:
    people = pd.read_csv(folder / "covariates.csv")
    X = pd.read_csv(folder / "features.csv").to_numpy()
    sites, index = np.unique(people["SITE"], return_inverse=True)
    c = people[["age", "dose"]].to_numpy()
    c = np.column_stack([c, people["group"] == "mild", people["group"] == "severe"]).astype(float)
    c -= c.mean(axis=0)
    D = np.hstack([np.eye(sites.size)[index], c])
    coefficients = np.linalg.lstsq(D, X, rcond=None)[0]
    mean = np.bincount(index) / len(X) @ coefficients[: sites.size]
    sd = np.sqrt(((X - D @ coefficients) ** 2).mean(axis=0))
    scale = c.std(axis=0)
    mcmc = MCMC(
        NUTS(model, target_accept_prob=0.9),
        num_warmup=1500,
        num_samples=5000,
        num_chains=4,
        chain_method="sequential",
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(0), (X - mean) / sd, c / scale, index, sites.size)
    draws = mcmc.get_samples(group_by_chain=True)
    made = {}
    for name in ("gamma", "delta", "harmonized"):
        found = summary({name: np.asarray(draws[name])})[name]
        made[name] = found["mean"]
        made[f"{name}_error"] = found["std"] / np.sqrt(found["n_eff"])
        print(name, "worst r hat", found["r_hat"].max(), "worst error", made[f"{name}_error"].max())
    made["mean"], made["sd"] = mean, sd
    np.savez_compressed(out, **made)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
