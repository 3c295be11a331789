// The fields of a specimen, each with a box for every cell of it: to go to a cell, to add one that was missed, and to say
// of one that it is none.

import {canBeDecided, isDouble} from "./decisions.js";
import * as differentials from "./differentials.js";
import {announce, el, refill, say} from "./dom.js";
import {boxes, legend} from "./field_detail.js";
import {fieldFrame, pictureOf} from "./field_frame.js";
import {className, errorText, number, t} from "./messages.js";

const UNIDENTIFIED = "Unidentified";
export const NO_CELL = "Artefact";
/** In red cells, and of the sides of a field where their size is not known: a first box where no cell tells. */
const FIRST_BOX_RED_CELLS = 2;
const FIRST_BOX = 0.1;

export class SpecimenFields {
  #choose;
  #add;
  #fileOf;
  #found = null;
  #current = null;
  #isClosed = true;
  #number = null;
  #frame = fieldFrame({
    changed: () => this.#showControls(), added: () => this.#addDrawn(), broken: (words) => say(this.#problem, words),
  });
  #problem = el("p", {class: "problem", role: "alert"});
  #hint = el("p", {class: "note", id: "draw-hint", role: "status"});
  #select = el("select", {id: "field-number", onchange: ({target}) => this.#goToField(Number(target.value))});
  #draw = el("button", {type: "button", id: "draw-cell", "aria-pressed": "false", onclick: () => this.#toggleDrawing()}, t("drawCell"));
  #addButton = el("button", {type: "button", id: "add-cell", class: "primary", onclick: () => this.#addDrawn()}, t("addCell"));
  #remove;
  #isDrawing = false;

  /**
   * `choose(id)` is told of a click on a cell, `decide(label)` what a person says of the current one; `add(field, box)` adds a
   * cell, and throws where that is refused; `fileOf(field)` gives the image of a field where the page has it, or null.
   */
  constructor({choose, decide, add, fileOf}) {
    this.#choose = choose;
    this.#add = add;
    this.#fileOf = fileOf;
    this.#remove = el("button", {type: "button", id: "no-cell", onclick: () => decide(NO_CELL)}, t("noCell"));
    this.node = el("details", {class: "no-print specimen-fields", id: "fields", hidden: true, ontoggle: () => this.#lay()},
      el("summary", {}, t("fields")),
      el("p", {class: "note"}, t("fieldsNote")),
      el("div", {class: "controls"},
        el("span", {class: "control"}, el("label", {for: "field-number"}, t("field")), this.#select),
        el("span", {class: "buttons"}, this.#draw, this.#addButton, this.#remove)),
      this.#hint, this.#problem, this.#frame.node, legend());
    this.node.addEventListener("click", ({target}) => {
      const id = target.closest(".box")?.dataset.cell;
      if (id) this.#choose(id);
    });
    this.node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#isDrawing) return;
      this.#toggleDrawing();
      event.stopPropagation();
    }, true);
  }

  /** With the cell of this id as the current one. */
  show(found, current, isClosed) {
    const cell = found.cells.find(({id}) => id === current);
    if (current !== this.#current && cell?.place) this.#number = cell.place.number;
    [this.#found, this.#current, this.#isClosed] = [found, current, isClosed];
    this.node.hidden = !found.fields?.length;
    if (this.node.open) this.#lay();
  }

  get #field() {
    return this.#found.fields.find((field) => field.number === this.#number) ?? this.#found.fields[0];
  }

  get #cells() {
    return this.#found.cells.filter(({place, result}) => place?.number === this.#field.number && result?.box);
  }

  #goToField(to) {
    this.#number = to;
    if (this.#isDrawing) this.#toggleDrawing();
    this.#lay();
  }

  #lay() {
    if (!this.node.open || this.node.hidden) return;
    const {fields, id} = this.#found;
    const field = this.#field;
    if (this.#isDrawing && this.#isClosed) this.#toggleDrawing();
    refill(this.#select, fields, () => fields.map((one) => el("option", {value: one.number}, t("fieldCells", {number: number(one.number), count: number(one.cells)}))));
    this.#select.value = String(field.number);
    const cells = this.#cells;
    const [height, width] = field.image_size;
    const drawing = boxes(cells.map(entryOf), {width, height});
    cells.forEach((cell, at) => {
      drawing.children[at].dataset.cell = cell.id;
      drawing.children[at].classList.toggle("chosen", cell.id === this.#current);
    });
    this.#frame.show(field, drawing, () => {
      say(this.#problem, "");
      return pictureOf(differentials.imageUrl(id, field.id), this.#fileOf(field));
    });
    this.#showControls();
  }

  #showControls() {
    const cell = this.#found?.cells.find(({id}) => id === this.#current);
    const isOpen = Boolean(this.#found) && !this.#isClosed;
    this.#draw.hidden = !isOpen;
    this.#draw.setAttribute("aria-pressed", String(this.#isDrawing));
    say(this.#draw, t(this.#isDrawing ? "drawNone" : "drawCell"));
    this.#addButton.hidden = !this.#isDrawing || !this.#frame.box;
    this.#remove.hidden = !isOpen || this.#isDrawing || cell?.place?.number !== this.#field.number;
    this.#remove.disabled = !cell || !canBeDecided(cell) || cell.decision?.label === NO_CELL;
    say(this.#hint, this.#isDrawing ? t("drawHint") : "");
  }

  #toggleDrawing() {
    this.#isDrawing = !this.#isDrawing;
    say(this.#problem, "");
    if (!this.#isDrawing) this.#frame.end();
    else this.#frame.draw(this.#usualSide());
  }

  #usualSide() {
    const sides = this.#cells.map(({result: {box}}) => Math.max(box.right - box.left, box.bottom - box.top)).sort((a, b) => a - b);
    const {image_size: size, red_cell_px: red} = this.#field;
    return sides[Math.floor(sides.length / 2)] ?? (red ? FIRST_BOX_RED_CELLS * red : FIRST_BOX * Math.min(...size));
  }

  /** The box stays where it was refused, to be drawn better. */
  async #addDrawn() {
    const {box} = this.#frame;
    if (!box || this.#addButton.disabled) return;
    this.#addButton.disabled = true;
    say(this.#problem, "");
    try {
      const cell = await this.#add(this.#field, box);
      if (this.#isDrawing) this.#toggleDrawing();
      announce(t("cellAdded", {number: number(cell.number), label: className(cell.result.class)}));
    } catch (error) {
      say(this.#problem, errorText(error));
      this.#frame.focus();
    }
    this.#addButton.disabled = false;
  }
}

function entryOf(cell) {
  const {decision, place, result} = cell;
  const kind = decision?.label === NO_CELL || isDouble(cell) ? "unidentified" : decision ? "sure"
    : !place.is_identified ? "unidentified" : cell.needs_review ? "doubtful" : "sure";
  return {cell: result, number: cell.number, kind, label: decision?.label ?? (place.is_identified ? result.class : UNIDENTIFIED)};
}
