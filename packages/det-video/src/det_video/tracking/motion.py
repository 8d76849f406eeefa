"""A Kalman filter of constant velocity for many boxes at once.

Center, aspect ratio (width by height) and height of a box are four independent coordinates, each with its velocity: the
noise of process and measurement is diagonal, as in DeepSORT (Wojke et al., 2017), whose standard deviations, relative
to the height, these are. The covariance of each coordinate is a symmetric 2 x 2 matrix, so that no matrix is inverted.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["KalmanBoxes", "to_xyxy"]

Array = NDArray[np.float64]
_POSITION, _VELOCITY = 1 / 20, 1 / 160
# Of the aspect ratio, which is not relative to the height: process, velocity, measurement.
_ASPECT, _ASPECT_VELOCITY, _ASPECT_MEASURED = 1e-2, 1e-5, 1e-1


class KalmanBoxes:
    """States of N boxes.

    Attributes:
        mean: (N, 4, 2): position and velocity, in pixels per step, of center x, center y, aspect ratio and height.
        covariance: (N, 4, 3): variance of the position, covariance, variance of the velocity.
    """

    def __init__(self) -> None:
        self.mean: Array = np.zeros((0, 4, 2))
        self.covariance: Array = np.zeros((0, 4, 3))

    def __len__(self) -> int:
        return len(self.mean)

    def boxes(self) -> Array:
        """The boxes (N, 4), xyxy in pixels."""
        return to_xyxy(self.mean[:, :, 0])

    def add(self, boxes: Array) -> None:
        """Append states at rest for boxes (M, 4), xyxy."""
        measured = _from_xyxy(boxes)
        mean = np.stack([measured, np.zeros_like(measured)], -1)
        position, velocity = _deviations(measured[:, 3], _ASPECT, _ASPECT_VELOCITY, 2, 10)
        covariance = np.stack([position**2, np.zeros_like(position), velocity**2], -1)
        self.mean = np.concatenate([self.mean, mean])
        self.covariance = np.concatenate([self.covariance, covariance])

    def keep(self, index: NDArray[np.bool_]) -> None:
        """Keep the states of this mask (N,)."""
        self.mean, self.covariance = self.mean[index], self.covariance[index]

    def predict(self, steps: float, frozen_height: NDArray[np.bool_]) -> None:
        """Advance by `steps` frame intervals; boxes of the mask (N,), which are lost, keep their height."""
        self.mean[frozen_height, 3, 1] = 0
        position, velocity = _deviations(np.maximum(self.mean[:, 3, 0], 1), _ASPECT, _ASPECT_VELOCITY)
        pp, pv, vv = (self.covariance[..., place] for place in range(3))
        self.mean[..., 0] += steps * self.mean[..., 1]
        self.mean[:, 3, 0] = np.maximum(self.mean[:, 3, 0], 1)
        self.covariance = np.stack(
            [pp + 2 * steps * pv + steps**2 * vv + steps * position**2, pv + steps * vv, vv + steps * velocity**2], -1
        )

    def update(self, rows: NDArray[np.int64], boxes: Array) -> None:
        """Correct the states `rows` by measured boxes (len(rows), 4), xyxy."""
        mean = self.mean[rows]
        pp, pv, vv = (self.covariance[rows][..., place] for place in range(3))
        noise, _ = _deviations(np.maximum(mean[:, 3, 0], 1), _ASPECT_MEASURED, 0)
        residual = _from_xyxy(boxes) - mean[..., 0]
        total = pp + noise**2
        gain, velocity_gain = pp / total, pv / total
        mean[..., 0] += gain * residual
        mean[..., 1] += velocity_gain * residual
        self.mean[rows] = mean
        self.covariance[rows] = np.stack([(1 - gain) * pp, (1 - gain) * pv, vv - velocity_gain * pv], -1)


def to_xyxy(states: Array) -> Array:
    """Boxes (N, 4) of center x, center y, aspect ratio and height."""
    x, y, aspect, height = states.T
    width = np.maximum(aspect, 1e-3) * height
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)


def _from_xyxy(boxes: Array) -> Array:
    x0, y0, x1, y1 = boxes.T
    height = np.maximum(y1 - y0, 1e-3)
    return np.stack([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / height, y1 - y0], -1)


def _deviations(
    height: Array, aspect: float, aspect_velocity: float, position_factor: float = 1, velocity_factor: float = 1
) -> tuple[Array, Array]:
    """Standard deviations (N, 4) of positions and of velocities."""
    relative = np.repeat(height[:, None], 4, 1)
    position, velocity = relative * _POSITION * position_factor, relative * _VELOCITY * velocity_factor
    position[:, 2], velocity[:, 2] = aspect, aspect_velocity
    return position, velocity
