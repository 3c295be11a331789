// The cell of a specimen that a person looks at. Head, picture and buttons stay from cell to cell; what is known of one
// is filled in when it comes.

import {el, fill, say} from "./dom.js";
import {findings, howSure, reportSection, technicalFacts} from "./cell_detail.js";
import {Comparison} from "./comparison.js";
import {ExplainedCells} from "./explained_cells.js";
import {className, number, t} from "./messages.js";
import {decisionControls} from "./review_controls.js";
import {urlOf} from "./specimen_tiles.js";
import {viewer} from "./viewer.js";

/** Who runs through the cells asks for no heatmap of each. */
const REST_MS = 120;
/** Of the cells that come next the images are fetched before they are asked for. */
const AHEAD = 3;

const after = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export class CellPanel {
  #fileOf;
  #seen;
  #explained = new ExplainedCells();
  #cell = null;
  #picture = null;
  #drawn = {};
  #missing = "pictureMissing";
  #head = el("p", {class: "note cell-head", id: "cell-head"});
  #title = el("h3", {id: "detail-title"});
  #sure = el("p", {class: "decision"});
  #failure = el("p", {class: "problem", lang: "en"});
  #pictureNote = el("p", {class: "note", id: "picture-note", role: "status"});
  #again;
  #viewer;
  #plain = el("div", {});
  #findings = el("div", {class: "findings"});
  #comparison;
  /** Report and facts, for another place. */
  more = el("div", {class: "cell-more"});
  #controls;

  /**
   * `decide(label)` is told of a button, `seen(cell)` when the picture of a cell is on the screen, `imagesAgain(files)`
   * of files that may hold what is missing; `fileOf(cell)` gives an image that the page has, or null. `comments` stand
   * below what was found. `compare` is what a Comparison asks for.
   */
  constructor({decide, seen, imagesAgain, fileOf, comments, compare}) {
    this.#comparison = new Comparison(compare);
    this.#fileOf = fileOf;
    this.#seen = seen;
    this.#controls = decisionControls(decide);
    this.#viewer = viewer({
      isThere: () => this.#isThere(),
      isBroken: () => say(this.#pictureNote, t("pictureBroken")),
    });
    this.#again = el("p", {},
      el("input", {type: "file", multiple: true, class: "unseen", id: "images-again",
        onchange: ({target}) => imagesAgain([...target.files]).finally(() => { target.value = ""; })}),
      el("label", {for: "images-again", class: "button"}, t("imagesAgain")));
    this.node = el("div", {class: "panel", id: "review-detail", tabindex: "-1"},
      el("div", {class: "cell-picture"}, this.#viewer.node, this.#plain, this.#pictureNote, this.#again, this.#comparison.node),
      el("div", {class: "cell-words"},
        this.#head, el("div", {class: "detail-head"}, this.#title, this.#sure), this.#failure,
        this.#controls.node, this.#findings, comments));
  }

  /** Whether there is a picture of the cell: what nobody can see, nobody decides. */
  get hasPicture() {
    return Boolean(this.#picture?.file);
  }

  /** What is said where the picture should be. */
  get note() {
    return this.#pictureNote.textContent;
  }

  /** Images came that were missing. */
  lookAgain() {
    this.#explained.lookAgain();
    this.#drawn = {};
  }

  /** The cell of the differential `found`; `place` is where it stands in the review, or "". */
  async show(found, cell, place, isClosed) {
    this.#cell = cell;
    this.#missing = isClosed ? "imageNotKept" : "pictureMissing";
    const file = this.#fileOf(cell);
    const picture = this.#picture = this.#explained.picture(found, cell, file);
    say(this.#head, `${t("cellNumber", {number: number(cell.number)})}${place && ` · ${place}`}`);
    const showPicture = () => {
      this.#again.hidden = picture.file !== null;
      this.#controls.show(cell, isClosed, this.hasPicture);
    };
    showPicture();
    this.#comparison.show(cell);
    const known = this.#explained.get(cell.id);
    if (!cell.result) this.#drawUnanalysed(cell, picture.file);
    else if (known || this.#drawn.cell !== cell.id || !this.#drawn.detail) {
      this.#draw(cell, known ?? this.#explained.beforehand(cell, picture.file));
    }
    this.#compareSoon(found, cell);
    if (known) return;
    if (picture.file === undefined) {
      await picture.promise;
      if (this.#cell !== cell) return;
      showPicture();
      if (!cell.result) this.#drawUnanalysed(cell, picture.file);
      else if (picture.file) this.#draw(cell, this.#explained.beforehand(cell, picture.file));
    }
    await after(REST_MS);
    if (this.#cell !== cell) return;
    const at = found.review_list.indexOf(cell.id);
    for (const id of found.review_list.slice(at + 1, at + 1 + AHEAD)) {
      const next = found.cells.find((one) => one.id === id);
      this.#explained.picture(found, next, this.#fileOf(next));
    }
    if (!cell.result) return;
    const detail = await this.#explained.explain(found, cell, file);
    if (this.#cell.id === cell.id) this.#draw(cell, detail);
  }

  async #compareSoon(found, cell) {
    await after(REST_MS);
    if (this.#cell === cell) this.#comparison.showPictures(found, cell);
  }

  #isThere() {
    say(this.#pictureNote, "");
    this.#seen(this.#cell);
  }

  #draw(cell, detail) {
    if (this.#drawn.cell === cell.id && this.#drawn.detail === detail) return;
    this.#drawn = {cell: cell.id, detail};
    const {result, url, heatNote = "noHeatmap", imageNote = this.#missing, report = null} = detail;
    say(this.#title, className(result.decision.class));
    fill(this.#sure, howSure(result));
    say(this.#failure, "");
    fill(this.#plain);
    say(this.#pictureNote, url ? "" : t(imageNote));
    this.#viewer.show(url, result, heatNote);
    fill(this.#findings, findings(result));
    fill(this.more, reportSection(report), technicalFacts(result));
  }

  /** One that could not be analysed: a person may still say what it is. */
  #drawUnanalysed(cell, file) {
    say(this.#title, cell.label ? className(cell.label) : t(`state_${cell.state}`));
    if (this.#drawn.cell === cell.id && this.#drawn.state === cell.state && this.#drawn.file === file) return;
    this.#drawn = {cell: cell.id, state: cell.state, file};
    fill(this.#sure);
    say(this.#failure, cell.failure ?? "");
    this.#viewer.show(null);
    say(this.#pictureNote, file === undefined ? t("imageComes") : file ? "" : t(this.#missing));
    fill(this.#plain, file ? el("img", {class: "plain", src: urlOf(file), alt: t("imageOfCell"),
      onload: ({target}) => { if (target.isConnected) this.#isThere(); },
      onerror: ({target}) => { if (target.isConnected) say(this.#pictureNote, t("pictureBroken")); }}) : null);
    fill(this.#findings);
    fill(this.more);
  }
}
