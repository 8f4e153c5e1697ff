// Rotate, shift, scale and mirror an image, bilinear, zeros outside: utils/engine/layers.py's
// warp, for one image. u holds the five uniforms of utils/engine/ensemble.py.
export function warp(image, [rows, columns], augment, u, out) {
  const { rotation, shift, scale, flip } = augment, spread = (k) => 2 * u[k] - 1;
  const angle = (rotation * spread(0) * Math.PI) / 180, size = 1 + scale * spread(3);
  const cos = Math.cos(angle) / size, sin = Math.sin(angle) / size;
  const side = u[4] < flip ? -1 : 1;
  const dx = (2 * shift * spread(1)) / columns, dy = (2 * shift * spread(2)) / rows;
  const pixel = (i, j) =>
    i >= 0 && i < rows && j >= 0 && j < columns ? image[i * columns + j] : 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const x = (2 * j + 1) / columns - 1, y = (2 * i + 1) / rows - 1;
      const fromX = side * (cos * x - sin * y + sin * dy - cos * dx);
      const fromY = sin * x + cos * y - sin * dx - cos * dy;
      const column = ((fromX + 1) * columns - 1) / 2, row = ((fromY + 1) * rows - 1) / 2;
      const left = Math.floor(column), top = Math.floor(row);
      const a = column - left, b = row - top;
      out[i * columns + j] =
        (1 - b) * ((1 - a) * pixel(top, left) + a * pixel(top, left + 1)) +
        b * ((1 - a) * pixel(top + 1, left) + a * pixel(top + 1, left + 1));
    }
  }
  return out;
}
