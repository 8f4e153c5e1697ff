// What a lab can show beside its curves. A view `needs` something an engine sends of the network
// (points, validation, weights, inputs), the records of all draws or those of a sweep; `watch` says what
// the engine is to send, `draw` gives the build's figure its numbers.
import { fit } from "./fit.js";
import { images } from "./images.js";
import { inputs } from "./inputs.js";
import { map } from "./map.js";
import { pairs } from "./pairs.js";
import { path } from "./path.js";
import { regions } from "./regions.js";
import { shares } from "./shares.js";
import { targets } from "./targets.js";
import { weights } from "./weights.js";

const curves = { needs: "records" };
export const VIEWS = { curves, fit, images, inputs, map, pairs, path, regions, shares, targets, weights };

// What all views of a lab together want of the engine
export function watched(views, { figures, seeds }, { data }) {
  const wanted = { members: [0], grid: null, validation: 0, weights: false, inputs: 0, training: false };
  for (const [name, view] of Object.entries(views)) Object.assign(wanted, view.watch?.(figures[name], data, seeds));
  return wanted;
}
