"""Random changes of images, by name. To add one, write a class and name it in `AUGMENTATIONS`."""

import math
from typing import Annotated, Literal

from mnist_cnn.yaml_files import Section

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor
from torch.nn import functional as F


class Augmentation(Section):
    """The base of all augmentations."""

    def __call__(self, images: Tensor) -> Tensor:
        """Each image changed at random.

        Args:
            images: pixel values `(n, channels, height, width)` of any type.

        Returns:
            `float32` pixel values of the same shape and range. Random numbers come from PyTorch's
            global generator for the device of the images.
        """
        raise NotImplementedError


class Identity(Augmentation):
    """No change."""

    def __call__(self, images: Tensor) -> Tensor:
        """See `Augmentation`."""
        return images.float()


class Affine(Augmentation):
    """Rotation by a random angle, then translation, in one resampling; then cutout.

    Pixels from outside the image are 0. No random numbers are drawn if rotation and translation
    are 0, and none for a cutout of 0.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    """The largest angle in degrees; angles are uniform in ±rotation."""
    translation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The largest shift as a fraction of height and width. Horizontal and vertical shift are
    independent, and uniform in ±translation."""
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    cutout: NonNegativeInt = 0
    """The side, in pixels, of a square that is 0 (DeVries and Taylor 2017, arXiv 1708.04552). Its
    centre is uniform over the image, so a part of it can be outside."""

    def __call__(self, images: Tensor) -> Tensor:
        """See `Augmentation`."""
        return self._cut_out(self._move(images.float()))

    def _move(self, images: Tensor) -> Tensor:
        if not self.rotation and not self.translation:
            return images
        count, _, height, width = images.shape
        angle, dx, dy = (torch.rand(3, count, device=images.device) * 2 - 1).unbind()
        radians = angle * math.radians(self.rotation)
        cos, sin = torch.cos(radians), torch.sin(radians)
        # `affine_grid` maps positions in the result to positions in the image. Both run from -1 to
        # 1, so a shift by the whole width is 2, and the axes of an oblong image differ in scale.
        turn = torch.stack(
            [
                torch.stack([cos, -sin * height / width], 1),
                torch.stack([sin * width / height, cos], 1),
            ],
            1,
        )
        # In that direction the rotation comes last, so it applies to the shift as well.
        shift = 2 * self.translation * torch.stack([dx, dy], 1).unsqueeze(2)
        theta = torch.cat([turn, turn @ shift], 2)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, mode=self.interpolation, align_corners=False)

    def _cut_out(self, images: Tensor) -> Tensor:
        if not self.cutout:
            return images
        count, _, height, width = images.shape
        cut = torch.ones(count, 1, 1, 1, dtype=torch.bool, device=images.device)
        for side, shape in ((height, (1, 1, -1, 1)), (width, (1, 1, 1, -1))):
            starts = torch.randint(side, (count, 1, 1, 1), device=images.device) - self.cutout // 2
            positions = torch.arange(side, device=images.device).view(shape)
            cut = cut & (positions >= starts) & (positions < starts + self.cutout)
        return images.masked_fill(cut, 0)


class Photometric(Affine):
    """Affine, and then what a camera does: blur, other levels of black and white, noise.

    The strength of each is uniform for each image, from none to the given one.
    """

    blur: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How much of the image may be replaced by a blurred one."""
    levels: Annotated[float, Field(ge=0, le=0.8)] = 0.6
    """How far black may rise and white may fall, as a fraction of the range. They stay at least
    0.2 apart."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The largest noise, as a fraction of the range; it is uniform in ±noise for each pixel."""

    def __call__(self, images: Tensor) -> Tensor:
        """See `Augmentation`."""
        images = super().__call__(images)
        blur, black, white, noise = torch.rand(4, len(images), 1, 1, 1, device=images.device)
        images = torch.lerp(images, _blurred(images), self.blur * blur)
        black, white = self.levels * black, 1 - self.levels * white
        images = 255 * black + (white - black).clamp(min=0.2) * images
        grain = torch.rand_like(images) * 2 - 1
        return torch.clamp(images + 255 * self.noise * noise * grain, 0, 255)


def _blurred(images: Tensor) -> Tensor:
    """Images blurred by the binomial filter of 5 × 5 pixels, twice."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    channels = images.shape[1]
    kernel = (row[:, None] * row).expand(channels, 1, 5, 5)
    for _ in range(2):
        images = F.conv2d(images, kernel, padding=2, groups=channels)
    return images


class FlipCrop(Augmentation):
    """For photographs: a shift by whole pixels, and left and right exchanged in half of them."""

    padding: NonNegativeInt = 4
    """The largest shift in pixels, in each direction. Pixels from outside are 0."""
    flip: bool = True

    def __call__(self, images: Tensor) -> Tensor:
        """See `Augmentation`."""
        images = images.float()
        count, _, height, width = images.shape
        if self.flip:
            mirrored = torch.rand(count, 1, 1, 1, device=images.device) < 0.5
            images = torch.where(mirrored, images.flip(3), images)
        if not self.padding:
            return images
        padded = F.pad(images, [self.padding] * 4)
        corners = torch.randint(2 * self.padding + 1, (2, count, 1), device=images.device)
        rows = corners[0] + torch.arange(height, device=images.device)
        columns = corners[1] + torch.arange(width, device=images.device)
        index = torch.arange(count, device=images.device)[:, None, None]
        # Indexing puts the channels last.
        return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "affine": Affine,
    "flip_crop": FlipCrop,
    "none": Identity,
    "photometric": Photometric,
}
