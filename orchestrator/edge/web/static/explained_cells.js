// What is known of a specimen's cells beyond the differential: image, heatmap and report, asked for one by one.

import {analyse, analyseAndReport, ask} from "./api.js";
import * as differentials from "./differentials.js";
import {analysisChoice, settings} from "./settings.js";
import {urlOf} from "./specimen_tiles.js";

const RETRY_S = 2;

/** Details for the panel of a cell, by the ids of cells; each is asked for once. */
export class ExplainedCells {
  #known = new Map();
  #pictures = new Map();

  /** After images came that were missing: they are looked for again. */
  lookAgain() {
    for (const [id, picture] of this.#pictures) {
      if (picture.file) continue;
      this.#pictures.delete(id);
      this.#known.delete(id);
    }
  }

  /** The image of a cell: `ownFile`, or what the service keeps; `file` is null where there is none. */
  picture(found, cell, ownFile) {
    const known = this.#pictures.get(cell.id);
    if (known) return known;
    const picture = ownFile ? {file: ownFile, promise: Promise.resolve(ownFile)}
      : {promise: keptImage(differentials.imageUrl(found.id, cell.id))};
    picture.promise.then((file) => { picture.file = file; });
    this.#pictures.set(cell.id, picture);
    return picture;
  }

  /** What is there already, or null. */
  get(id) {
    return this.#known.get(id)?.detail ?? null;
  }

  /** What there is before anything was asked: the differential's own figures, and the image if the page has it. */
  beforehand(cell, file) {
    return {
      result: asAnalysis(cell), url: file && urlOf(file), imageNote: "imageComes", heatNote: "heatmapComes",
      report: settings.get("writer") === "none" ? null : new Promise(() => {}),  // of which is told later
    };
  }

  /** Of a cell of the differential `found`; `file` is its image, null where the page has none. */
  explain(found, cell, file) {
    const known = this.#known.get(cell.id);
    if (known) return known.promise;
    const entry = {detail: null, promise: explained(found, cell, this.picture(found, cell, file).promise)};
    this.#known.set(cell.id, entry);
    entry.promise.then((detail) => {
      if (detail.heatNote === "heatmapFailed") this.#known.delete(cell.id);  // and is asked for again
      else entry.detail = detail;
    });
    return entry.promise;
  }
}

async function explained(found, cell, picture) {
  const file = await picture;
  if (!file) return {result: asAnalysis(cell), url: null};
  // Alone, its picture could be taken for one of a neighbour that is in it too.
  if (cell.place) return {result: asAnalysis(cell), url: urlOf(file), heatNote: "heatmapOfField"};
  const choice = {...analysisChoice(), profile: found.profile, tta: found.tta};
  try {
    if (settings.get("writer") === "none") return {result: await analyse(file, choice), url: urlOf(file)};
    const {result, report} = analyseAndReport(file, choice);
    return {result: await result, url: urlOf(file), report};
  } catch {
    return {result: asAnalysis(cell), url: urlOf(file), heatNote: "heatmapFailed"};
  }
}

/** A cell of a specimen as an analysis without its picture. */
function asAnalysis(cell) {
  const {result} = cell;
  return {
    request_id: null, model: result.model, profile: result.profile, device_state: result.device_state, views: result.views,
    image: {height: result.image_size[0], width: result.image_size[1]},
    decision: {class: result.class, confidence: result.confidence, margin: result.margin},
    review: {needed: result.review_codes.length > 0, reasons: result.review_codes.map((code) => ({code, message: code}))},
    probabilities: result.probabilities, focus: result.focus_ratio === null ? null : {ratio: result.focus_ratio},
    heatmap: null, outlines: null, timings_ms: {},
  };
}

/** An image that the service keeps, as soon as it can be had; null where it keeps none. */
async function keptImage(path) {
  for (;;) {
    try {
      return new File([await (await ask(path)).blob()], "cell");
    } catch (error) {
      if (!error.isTemporary) return null;
      await new Promise((resolve) => { setTimeout(resolve, 1000 * (error.retryAfterS ?? RETRY_S)); });
    }
  }
}
