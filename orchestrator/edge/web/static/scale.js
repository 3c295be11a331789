// How large things in an image are: in micrometres where the profile of its microscope says how large a pixel is.

import {model} from "./api.js";

/** Lengths that a scale bar may have, in micrometres; of an image it takes at most so much. */
const BARS_UM = [1, 2, 5, 10, 20, 50, 100, 200];
const MOST = 0.3;

let scales = null;

/** Take what the service says of its profiles. */
export function knowScales({profiles}) {
  scales = new Map(profiles.map(({name, um_per_px: scale}) => [name, scale]));
}

/** The same, asked for once. */
export async function readScales() {
  if (!scales) knowScales(await model());
}

/** Micrometres per pixel of a result, or null. */
export const scaleOf = ({profile}) => scales?.get(profile) ?? null;

/** The longest scale bar for an image so many pixels wide that is shown `zoom` times as large: `{um, share}` of its width; null without a scale. */
export function scaleBar(scale, width, zoom) {
  if (!scale) return null;
  const share = (um) => um / (scale * width);
  const um = BARS_UM.findLast((one) => share(one) * zoom <= MOST) ?? BARS_UM[0];
  return {um, share: share(um)};
}

/** Of polygons of (row, column) in pixels, by Gauss's formula; those of one kind do not overlap. */
const areaOf = (polygons) => polygons.reduce((sum, points) => sum + Math.abs(points.reduce((twice, [row, column], at) => {
  const [nextRow, nextColumn] = points[(at + 1) % points.length];
  return twice + column * nextRow - nextColumn * row;
}, 0)) / 2, 0);

const diameterOf = (area) => 2 * Math.sqrt(area / Math.PI);

/** Diameters in pixels of circles as large as cell and nucleus, and the nucleus' share of the cell's area; null where there are no outlines of both. */
export function sizesOf({outlines}) {
  const [cell, nucleus] = [areaOf(outlines?.cell ?? []), areaOf(outlines?.nucleus ?? [])];
  return cell && nucleus ? {cell: diameterOf(cell), nucleus: diameterOf(nucleus), share: Math.min(1, nucleus / cell)} : null;
}
