// How images come in: dropped, chosen, pasted, from a zip, or the samples of this page.

import {announce, el} from "./dom.js";
import {t} from "./messages.js";
import {imagesOfZip, isZip} from "./zip.js";

const MAX_BYTES = 10 * 2 ** 20;
const SAMPLES = ["basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"];

/** The place where files are dropped; `take(files)` gets them, zips unpacked. */
export function intake(take, {samples = true} = {}) {
  const problem = el("p", {class: "problem", role: "alert"});
  const input = el("input", {
    type: "file", id: "files", multiple: true, class: "unseen",
    accept: "image/*,.tif,.tiff,.dcm,.zip,application/zip",
    onchange: async () => { await taken([...input.files]); input.value = ""; },
  });

  async function taken(files) {
    problem.textContent = "";
    const images = [];
    for (const file of files) {
      if (!(await isZip(file))) images.push(file);
      else {
        try {
          images.push(...await imagesOfZip(file, MAX_BYTES));
        } catch {
          problem.textContent = t("badZip", {name: file.name});
        }
      }
    }
    if (images.length) {
      announce(t("filesTaken", {count: images.length}));
      take(images);
    } else if (files.length && !problem.textContent) problem.textContent = t("noImages");
  }

  async function takeSamples() {
    const files = await Promise.all(SAMPLES.map(async (name) => {
      const response = await fetch(`web/samples/${name}.jpg`);
      return new File([await response.blob()], `${name}.jpg`, {type: "image/jpeg"});
    }));
    await taken(files);
  }

  const zone = el("div", {class: "drop"},
    el("p", {}, t("dropHere")),
    el("p", {class: "buttons"},
      input,
      el("label", {for: "files", class: "button primary"}, t("chooseFiles")),
      samples ? el("button", {type: "button", id: "samples", onclick: takeSamples}, t("trySamples")) : null),
    el("p", {class: "note"}, t("whatIsTaken")),
    problem);
  for (const over of ["dragenter", "dragover"]) {
    zone.addEventListener(over, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  for (const out of ["dragleave", "drop"]) zone.addEventListener(out, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    taken([...event.dataTransfer.files]);
  });
  return {node: zone, taken};
}
