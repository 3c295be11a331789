// The cell of a specimen that a person looks at. Head, picture and buttons stay from cell to cell; what is known of one
// is filled in when it comes.

import {el, fill, say} from "./dom.js";
import {findings, howSure, reportSection, technicalFacts} from "./cell_detail.js";
import {ExplainedCells} from "./explained_cells.js";
import {className, number, t} from "./messages.js";
import {decisionControls} from "./review_controls.js";
import {urlOf} from "./specimen_tiles.js";
import {viewer} from "./viewer.js";

/** Who runs through the cells asks for no heatmap of each. */
const REST_MS = 120;

const after = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export class CellPanel {
  #fileOf;
  #explained = new ExplainedCells();
  #drawn = {};
  #head = el("p", {class: "note cell-head", id: "cell-head"});
  #title = el("h3", {id: "detail-title"});
  #sure = el("p", {class: "decision"});
  #failure = el("p", {class: "problem", lang: "en"});
  #missing = el("p", {class: "note", id: "picture-note"});
  #viewer = viewer();
  #plain = el("div", {});
  #findings = el("div", {class: "findings"});
  #more = el("div", {class: "cell-more"});
  #controls;

  /** `decide(label)` is told of a button; `fileOf(cell)` gives an image that the page has, or null. */
  constructor(decide, fileOf) {
    this.#fileOf = fileOf;
    this.#controls = decisionControls(decide);
    this.node = el("div", {class: "panel", id: "review-detail", tabindex: "-1"},
      el("div", {class: "cell-picture"}, this.#viewer.node, this.#plain, this.#missing),
      el("div", {class: "cell-words"},
        this.#head, el("div", {class: "detail-head"}, this.#title, this.#sure), this.#failure,
        this.#controls.node, this.#findings),
      this.#more);
  }

  /** The cell of the differential `found`; `place` is where it stands in the review, or "". */
  async show(found, cell, place, isClosed) {
    this.#controls.show(cell, isClosed);
    say(this.#head, `${t("cellNumber", {number: number(cell.number)})}${place && ` · ${place}`}`);
    const file = this.#fileOf(cell);
    if (!cell.result) {
      this.#drawUnanalysed(cell, file);
      return;
    }
    const known = this.#explained.get(cell.id);
    if (known || this.#drawn.cell !== cell.id || !this.#drawn.detail) this.#draw(cell, known ?? this.#explained.beforehand(cell, file));
    if (known) return;
    await after(REST_MS);
    if (this.#drawn.cell !== cell.id) return;
    const detail = await this.#explained.explain(found, cell, file);
    if (this.#drawn.cell === cell.id) this.#draw(cell, detail);
  }

  #draw(cell, detail) {
    if (this.#drawn.cell === cell.id && this.#drawn.detail === detail) return;
    this.#drawn = {cell: cell.id, detail};
    const {result, url, heatNote = "noHeatmap", imageNote = "imageNotKept", report = null} = detail;
    say(this.#title, className(result.decision.class));
    fill(this.#sure, howSure(result));
    say(this.#failure, "");
    fill(this.#plain);
    this.#viewer.node.hidden = !url;
    if (url) this.#viewer.show(url, result, heatNote);
    say(this.#missing, url ? "" : t(imageNote));
    fill(this.#findings, findings(result));
    fill(this.#more, reportSection(report), technicalFacts(result));
  }

  /** One that could not be analysed: a person may still say what it is. */
  #drawUnanalysed(cell, file) {
    say(this.#title, cell.label ? className(cell.label) : t(`state_${cell.state}`));
    if (this.#drawn.cell === cell.id && this.#drawn.state === cell.state) return;
    this.#drawn = {cell: cell.id, state: cell.state};
    fill(this.#sure);
    say(this.#failure, cell.failure ?? "");
    this.#viewer.node.hidden = true;
    fill(this.#plain, file ? el("img", {class: "plain", src: urlOf(file), alt: t("imageOfCell")}) : null);
    say(this.#missing, "");
    fill(this.#findings);
    fill(this.#more);
  }
}
