"""Two sound harmonizers in a few lines, and one that is broken on purpose for every rule of the contract."""

import nibabel as nib
import numpy as np

from mrsim.harmonizers import Capabilities, FeatureHarmonizer, ImageHarmonizer

FEATURE = Capabilities(needs_site_labels=True, handles_unseen_site=True)


class MeanScaler(ImageHarmonizer):
    """A sound harmonizer in a few lines: scale each image to the mean intensity of the training images."""

    capabilities = Capabilities(needs_site_labels=False, handles_unseen_site=True)

    def _learn(self, volumes):
        self.level_ = float(np.mean([v.inside.mean() for v in volumes]))

    def _apply(self, volume):
        mean = volume.inside.mean()
        if not mean > 0:
            raise ValueError("image must have a positive mean inside the mask. Check it.")
        return volume.data * (self.level_ / mean)


class LeakingImage(MeanScaler):
    """Keeps adapting its level to the images it transforms."""

    def _apply(self, volume):
        self.level_ = 0.9 * self.level_ + 0.1 * float(volume.inside.mean())
        return super()._apply(volume)


class SecretlyLeakingImage(MeanScaler):
    """Remembers in an attribute that does not look learned."""

    def _apply(self, volume):
        self.count = getattr(self, "count", 0) + 1
        return super()._apply(volume) * (1 + 1e-4 * self.count)


class MutatingImage(MeanScaler):
    """Works in the caller's array."""

    def transform(self, image, *, site, mask=None):
        out = super().transform(image, site=site, mask=mask)
        np.asanyarray(image.dataobj)[...] *= 1.01
        return out


class OrderDependentImage(MeanScaler):
    """Takes the first image as the template."""

    def _learn(self, volumes):
        means = [v.inside.mean() for v in volumes]
        self.level_ = float(means[0])


class HoardingImage(MeanScaler):
    """Loads the whole cohort before it starts."""

    def fit(self, images, *, site, masks=None, covariates=None):
        return super().fit(list(images), site=site, masks=masks)


class NoisyImage(MeanScaler):
    """Draws from a generator without a seed."""

    def _apply(self, volume):
        return super()._apply(volume) + np.random.default_rng().normal(size=volume.data.shape)


class GloballyNoisyFeature(FeatureHarmonizer):
    """Seeds and uses numpy's global random state, so it even looks deterministic."""

    capabilities = FEATURE

    def _learn(self, X, sites, covariates, columns):
        pass

    def _apply(self, X, sites, covariates):
        np.random.seed(0)  # noqa: NPY002
        return X + 0.0 * np.random.normal(size=X.shape)  # noqa: NPY002


class CutImage(MeanScaler):
    """Loses the affine and returns float64."""

    def transform(self, image, *, site, mask=None):
        out = super().transform(image, site=site, mask=mask)
        return nib.Nifti1Image(np.asarray(out.dataobj, dtype=np.float64), np.eye(4))


class UnitBoundImage(MeanScaler):
    """Clips at a fixed intensity."""

    def _apply(self, volume):
        return super()._apply(volume).clip(max=900.0)


class NanEater(MeanScaler):
    """Turns NaN into zero in silence."""

    def transform(self, image, *, site, mask=None):
        clean = nib.Nifti1Image(np.nan_to_num(np.asanyarray(image.dataobj)), image.affine)
        return super().transform(clean, site=site, mask=mask)


class LeakingFeature(FeatureHarmonizer):
    """Centres the rows that it is asked to transform on their own mean: test data decide about test data."""

    capabilities = FEATURE

    def _learn(self, X, sites, covariates, columns):
        self.mean_ = X.mean(axis=0)

    def _apply(self, X, sites, covariates):
        return X - X.mean(axis=0) + self.mean_


class MutatingFeature(LeakingFeature):
    """Subtracts in place during fit."""

    def fit(self, X, *, site, covariates=None):
        super().fit(X, site=site, covariates=covariates)
        X -= 1e-9
        return self


class AliasingFeature(FeatureHarmonizer):
    """Hands its input back instead of a copy."""

    capabilities = FEATURE

    def _learn(self, X, sites, covariates, columns):
        pass

    def _apply(self, X, sites, covariates):
        return X


class ChangingConstructor(AliasingFeature):
    """Converts its argument, which breaks cloning."""

    def __init__(self, sites=("a", "b")):
        self.sites = list(sites)


class TerseFeature(AliasingFeature):
    """Refuses new sites without saying which."""

    capabilities = Capabilities(needs_site_labels=True)

    def transform(self, X, *, site, covariates=None):
        if set(site) - set(self.sites_):
            raise ValueError("bad input")
        return super().transform(X, site=site, covariates=covariates).copy()


class SiteMeans(FeatureHarmonizer):
    """A sound table method in a few lines: every site gets the mean of all."""

    capabilities = Capabilities(needs_site_labels=True, one_site_identity=True)

    def _learn(self, X, sites, covariates, columns):
        labels = np.unique(sites)
        means = np.array([X[sites == label].mean(axis=0) for label in labels])
        self.shift_ = means - X.mean(axis=0)

    def _apply(self, X, sites, covariates):
        return X - self.shift_[np.searchsorted(self.sites_, sites)]


class FirstSiteFeature(SiteMeans):
    """Takes the site of the first row as the reference."""

    def _learn(self, X, sites, covariates, columns):
        super()._learn(X, sites, covariates, columns)
        self.shift_ = self.shift_ - self.shift_[np.searchsorted(np.unique(sites), sites[0])]


class OneSiteFeature(SiteMeans):
    """Promises to leave a single site alone, and standardises it."""

    def _apply(self, X, sites, covariates):
        return super()._apply(X, sites, covariates) * 1.01


class UnitBoundFeature(SiteMeans):
    """Adds a ridge in fixed units."""

    def _learn(self, X, sites, covariates, columns):
        super()._learn(X, sites, covariates, columns)
        self.shift_ = self.shift_ / (1.0 + 0.1 / (np.abs(self.shift_) + 0.1))


class ForgetfulFeature(SiteMeans):
    """Keeps what it learned where no file looks for it."""

    def _learn(self, X, sites, covariates, columns):
        super()._learn(X, sites, covariates, columns)
        self._hidden = self.shift_
        self.shift_ = np.zeros_like(self.shift_)

    def _apply(self, X, sites, covariates):
        return X - getattr(self, "_hidden", self.shift_)[np.searchsorted(self.sites_, sites)]


class LearningFromNewSites(SiteMeans):
    """Handles a new site, and remembers it: the next transform is another one."""

    capabilities = FEATURE

    def _apply(self, X, sites, covariates):
        if not set(sites) <= set(self.sites_):
            self.shift_ = self.shift_ - self.shift_.mean(axis=0)
            return X.copy()
        return super()._apply(X, sites, covariates)


class CollinearityBlindFeature(SiteMeans):
    """Claims to keep covariates and takes one that is the site."""

    capabilities = Capabilities(needs_site_labels=True, keeps_covariates=True)

    def _learn(self, X, sites, covariates, columns):
        design = np.column_stack([np.ones(len(X)), covariates])
        self.coefficients_ = np.linalg.lstsq(design, X, rcond=None)[0]
        super()._learn(X - design @ self.coefficients_, sites, covariates, columns)


class DividingFeature(SiteMeans):
    """Divides by a spread that may be zero, without looking."""

    def _learn(self, X, sites, covariates, columns):
        super()._learn(X, sites, covariates, columns)
        self.sd_ = X.std(axis=0)

    def _apply(self, X, sites, covariates):
        with np.errstate(all="ignore"):
            return super()._apply(X, sites, covariates) / self.sd_ * self.sd_


class NanEatingFeature(SiteMeans):
    """Fills missing values with zero in silence."""

    def transform(self, X, *, site, covariates=None):
        return super().transform(np.nan_to_num(X), site=site, covariates=covariates)


class RoundingFeature(SiteMeans):
    """Works in single precision."""

    def transform(self, X, *, site, covariates=None):
        return super().transform(X, site=site, covariates=covariates).astype(np.float32)


# Class -> the checks that must fail.
BROKEN = [
    (LeakingImage, {"no_leakage"}),
    (SecretlyLeakingImage, {"no_leakage"}),
    (LeakingFeature, {"no_leakage"}),
    (MutatingImage, {"input_untouched"}),
    (MutatingFeature, {"input_untouched"}),
    (AliasingFeature, {"input_untouched"}),
    (OrderDependentImage, {"sample_order"}),
    (HoardingImage, {"streaming"}),
    (NoisyImage, {"deterministic"}),
    (GloballyNoisyFeature, {"deterministic"}),
    (CutImage, {"geometry"}),
    (UnitBoundImage, {"units"}),
    (NanEater, {"nan_policy"}),
    (ChangingConstructor, {"parameters"}),
    (TerseFeature, {"unseen_site"}),
    (FirstSiteFeature, {"sample_order"}),
    (OneSiteFeature, {"one_site"}),
    (UnitBoundFeature, {"units"}),
    (ForgetfulFeature, {"save_load"}),
    (LearningFromNewSites, {"unseen_site"}),
    (CollinearityBlindFeature, {"errors"}),
    (DividingFeature, {"errors"}),
    (NanEatingFeature, {"nan_policy"}),
    (RoundingFeature, {"geometry"}),
]
