// How images come in: dropped, chosen, pasted, from a zip or a folder, or the samples of this page.

import {announce, el} from "./dom.js";
import {number, t} from "./messages.js";
import {IMAGE_NAME, imagesOfZip, isZip} from "./zip.js";

const MAX_BYTES = 10 * 2 ** 20;
/** Of hundreds of files, so that no key press waits until all are looked into. */
const AT_ONCE = 16;
/** The samples are painted, and come from no microscope. */
const SAMPLE_PROFILE = "painted";
const SAMPLES = ["basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"];

/** The place where files are dropped; `take(files)` gets them, zips unpacked. `compact` makes it small. */
export function intake(take) {
  const problem = el("p", {class: "problem", role: "alert"});
  const files = picker({id: "files", accept: "image/*,.tif,.tiff,.dcm,.zip,application/zip"}, (chosen) => taken(chosen));
  // Of a folder, only what looks like an image by its name: nobody chose its files one by one.
  const folder = picker({id: "folder", webkitdirectory: true}, (chosen) => taken(chosen.filter(({name}) => IMAGE_NAME.test(name))));

  async function taken(chosen) {
    problem.textContent = "";
    const parts = [];
    for (let at = 0; at < chosen.length; at += AT_ONCE) {
      parts.push(...await Promise.all(chosen.slice(at, at + AT_ONCE).map(unpacked)));
    }
    const images = parts.flatMap((part) => part.images);
    const tooLarge = parts.reduce((sum, part) => sum + part.tooLarge, 0);
    const broken = parts.find((part) => part.problem);
    if (broken) problem.textContent = broken.problem;
    else if (tooLarge) problem.textContent = t("tooLarge", {count: number(tooLarge)});
    else if (!images.length) problem.textContent = t("noImages");
    if (images.length) {
      announce(t("filesTaken", {count: number(images.length)}));
      take(images);
    }
  }

  async function takeSamples() {
    const found = await Promise.all(SAMPLES.map(async (name) => {
      const response = await fetch(`web/samples/${name}.jpg`);
      const file = new File([await response.blob()], `${name}.jpg`, {type: "image/jpeg"});
      return Object.assign(file, {profile: SAMPLE_PROFILE});
    }));
    await taken(found);
  }

  const node = el("div", {class: "drop"},
    el("p", {class: "drop-words"}, t("dropHere")),
    el("p", {class: "buttons"},
      files, el("label", {for: "files", class: "button primary"}, t("chooseFiles")),
      folder, el("label", {for: "folder", class: "button"}, t("chooseFolder")),
      el("button", {type: "button", id: "samples", onclick: takeSamples}, t("trySamples"))),
    el("p", {class: "note drop-words"}, t("whatIsTaken")),
    problem);
  for (const over of ["dragenter", "dragover"]) {
    node.addEventListener(over, (event) => { event.preventDefault(); node.classList.add("over"); });
  }
  for (const out of ["dragleave", "drop"]) node.addEventListener(out, () => node.classList.remove("over"));
  return {node, taken, compact: (isSmall) => node.classList.toggle("compact", isSmall)};
}

function picker(attributes, taken) {
  return el("input", {
    type: "file", multiple: true, class: "unseen", ...attributes,
    onchange: async ({target}) => {
      await taken([...target.files]);
      target.value = "";
    },
  });
}

async function unpacked(file) {
  try {
    return await isZip(file) ? await imagesOfZip(file, MAX_BYTES) : {images: [file], tooLarge: 0};
  } catch {
    return {images: [], tooLarge: 0, problem: t("badZip", {name: file.name})};
  }
}

/** What is dropped, folders with all that lies in them; to be called while the event is handled. */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.map((entry) => (entry.isDirectory ? filesIn(entry) : [fileOf(entry)])));
  return Promise.all(found.flat());
}

async function filesIn(folder) {
  const reader = folder.createReader();
  const files = [];
  for (;;) {
    // A reader gives a hundred at a time, and none at the end.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    for (const entry of entries) {
      if (entry.isDirectory) files.push(...await filesIn(entry));
      else if (IMAGE_NAME.test(entry.name)) files.push(fileOf(entry));
    }
  }
}

const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));
