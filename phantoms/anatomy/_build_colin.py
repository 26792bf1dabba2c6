"""Parts of the Colin27 build: brain mask, three-class segmentation with priors, and the real head shells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._build_brain import T1_CSF, T1_WM, Template
from ._shapes import Array, Filling, ellipsoid, soft, tube
from ._shells import head_distance, signed_distance

T1_GM = 170.0
"""Intensity of grey matter on the scale that the painting expects."""
Mask = NDArray[np.bool_]
CLASSES = ("csf", "gm", "wm")


def largest(mask: Mask) -> Mask:
    """Largest connected part."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def brain_mask(image: Array, prior: Mask) -> Mask:
    """Brain with the fluid in its sulci: bright tissue near the template's mask, opened, then closed.

    Parameters
    ----------
    image : ndarray
        T1-weighted image, fluid about 35, grey matter 80, white matter 110.
    prior : ndarray of bool
        The template's brain mask on the same grid.
    """
    near = signed_distance(prior)
    tissue = (image > 56.0) & (image < 135.0) & (near < 3.0)
    core = largest(signed_distance(tissue) < -2.0)  # erosion cuts vessels, dura and nerves
    grown = tissue & (signed_distance(core) < 3.5)
    closed = signed_distance(signed_distance(grown) < 5.0) < -5.0
    return np.asarray(ndimage.binary_fill_holes(closed | grown))


def segment(image: Array, mask: Mask, priors: Array, *, rounds: int = 25) -> tuple[Array, Array]:
    """Three-class Gaussian mixture with spatial priors and a smooth bias field, by expectation maximisation.

    The scheme of Wells 1996 (IEEE TMI 15:429): the bias is the smoothed residual of the expected intensity.

    Parameters
    ----------
    image : ndarray, shape (x, y, z)
        T1-weighted image.
    mask : ndarray of bool
        Voxels to segment.
    priors : ndarray, shape (3, x, y, z)
        Probability of `CLASSES`.

    Returns
    -------
    posterior : ndarray, shape (3, x, y, z)
        Class probabilities inside the mask, 0 outside.
    corrected : ndarray
        Image on the painting's scale: fluid 65, grey matter 170, white matter 205.
    """
    box = ndimage.find_objects(mask.astype(np.int8))[0]
    m, values = mask[box], np.maximum(image[box], 1.0)
    prior = np.stack([p[box][m] for p in priors]) + 0.02
    prior /= prior.sum(axis=0)
    x = values[m].astype(np.float64)
    mean, sd = np.array([38.0, 80.0, 108.0]), np.array([12.0, 9.0, 7.0])
    weight = ndimage.gaussian_filter(m.astype(np.float32), 20.0)
    bias = np.ones_like(x)
    post = prior
    for _ in range(rounds):
        z = (x / bias - mean[:, None]) / sd[:, None]
        post = prior * np.exp(-0.5 * z**2) / sd[:, None]
        post /= np.maximum(post.sum(axis=0), 1e-30)
        total = post.sum(axis=1)
        mean = (post * (x / bias)).sum(axis=1) / total
        sd = np.sqrt((post * (x / bias - mean[:, None]) ** 2).sum(axis=1) / total)
        expected = (post * mean[:, None]).sum(axis=0)
        # Fluid varies by partial volume, not by the coil: it does not shape the bias.
        residual = np.zeros(m.shape, np.float32)
        residual[m] = (1.0 - post[0]) * np.log(np.clip(x / expected, 0.5, 2.0))
        smooth = ndimage.gaussian_filter(residual, 20.0) / np.maximum(weight, 1e-3)
        bias = np.exp(smooth[m] - smooth[m].mean())
    scaled = np.interp(x / bias, [0.0, *mean, 1.6 * mean[2]], [20.0, T1_CSF, T1_GM, T1_WM, 240.0])
    posterior = np.zeros((3, *image.shape), np.float32)
    corrected = np.zeros(image.shape, np.float32)
    for out, p in zip(posterior, post, strict=True):
        out[box][m] = p
    corrected[box][m] = scaled
    return posterior, corrected


def real_shells(t: Template, icv: Array, image: Array, seen: Mask) -> dict[str, Array]:
    """Return skull, marrow, fat, skin, muscle, spinal_cord and extracranial_fluid of the real head.

    Parameters
    ----------
    t : Template
        Grid.
    icv : ndarray
        Signed distance [mm] to the inner table.
    image : ndarray
        T1-weighted image of the whole head; beyond its field of view the border voxels repeated.
    seen : ndarray of bool
        The field of view. Beyond it, the head is that of the synthetic shells in front and at the sides, and
        goes on as it was cut below.
    """
    smooth = ndimage.gaussian_filter(image, 0.6)
    head = largest(smooth > 24.0)
    head = np.asarray(signed_distance(signed_distance(head) < 4.0) < -4.0) | (icv < 9.0)
    head = np.stack([ndimage.binary_fill_holes(head[:, :, k]) for k in range(head.shape[2])], axis=2)
    synthetic = head_distance(t, np.asarray(icv - 8.0, np.float32))
    head &= seen | (synthetic < 2.0 + 22.0 * np.clip((t.z + 95.0) / 24.0, 0.0, 1.0) * (t.y < 60.0))
    surface = signed_distance(np.asarray(largest(head)), sigma=1.0)
    bone, air = _bone_and_air(t, icv, smooth, surface)

    layers = Filling(soft(surface))
    take = layers.take

    layers.leave(soft(icv))
    take("skin", np.asarray(1.0 - soft(surface + 1.8), np.float32))
    layers.leave(air)
    cord = tube(t, np.array([(0, -47, -66, 6.0), (0, -49, -72, 5.5), (0, -50, -140, 5.5)]))
    below = soft(np.asarray(t.z + 66.0, np.float32), 4.0)
    take("spinal_cord", soft(cord) * below)
    take("extracranial_fluid", soft(cord - 3.0) * below)
    eyes = soft(ellipsoid(t, (33, 62, -32), (13, 13, 13))) * np.clip((75.0 - smooth) / 20.0, 0.0, 1.0)
    take("extracranial_fluid", np.asarray(eyes, np.float32))
    # Spongy bone shows brighter than the tables; it keeps 1 mm of table on either side.
    inner = np.clip(ndimage.distance_transform_edt(bone > 0.5) - 1.0, 0.0, 1.0)
    diploe = np.asarray(bone * inner * np.clip((smooth - 20.0) / 16.0, 0.0, 1.0), np.float32)
    take("marrow", diploe)
    take("skull", np.asarray(bone - diploe, np.float32))
    take("fat", np.asarray(np.clip((smooth - 82.0) / 30.0, 0.0, 1.0), np.float32))
    take("muscle", layers.room.copy())
    return layers.parts


def _bone_and_air(t: Template, icv: Array, image: Array, surface: Array) -> tuple[Array, Array]:
    """Dark voxels outside the brain: bone where they lie against it, air in the large cavities."""
    deep = surface < -2.5
    dark = np.clip((58.0 - image) / 18.0, 0.0, 1.0) * (icv > 0) * deep
    roof = np.clip((t.z + 40.0) / 20.0, 0.0, 1.0)
    reach = 7.0 + 9.0 * roof  # the calvarium is thick, the base has sinuses close to it
    black = (image < 17.0) & (icv > 1.5) & deep
    cavity = (t.z < 12.0) & ((t.y > 0.0) | ((np.abs(t.x) > 28.0) & (t.y > -55.0) & (t.z < -22.0)))
    core = signed_distance(np.asarray(black & cavity)) < -2.5
    hollow = (signed_distance(np.asarray(core)) < 2.5) & black & (icv > 2.0)
    air = ndimage.gaussian_filter(hollow.astype(np.float32), 0.5)
    near = np.asarray((dark > 0.5) & (icv < reach))
    touching = ndimage.binary_propagation(near & (icv < 3.0), mask=near)
    closed = (signed_distance(signed_distance(touching) < 1.5) < -1.5) | touching
    # Nowhere less than 2.5 mm: the image blurs thin bone away.
    plate = soft(np.asarray(icv - 2.5, np.float32)) * np.clip((t.z + 72.0) / 4.0, 0.0, 1.0)
    solid = np.maximum(closed * np.clip((95.0 - image) / 25.0, 0.0, 1.0), plate) * soft(
        np.asarray(-icv, np.float32)
    )
    far = dark * (icv >= reach) * (icv < 60.0) * np.clip((40.0 - image) / 15.0, 0.0, 1.0)
    bone = np.maximum(solid, far) * (1.0 - air) * deep
    return np.asarray(bone, np.float32), np.asarray(air, np.float32)
