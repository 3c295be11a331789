// How images come in: dropped, chosen, pasted, from a zip or a folder, or the samples of this page.

import {announce, el} from "./dom.js";
import {number, t} from "./messages.js";
import {imagesOfZip, isImage, isZip} from "./zip.js";

const MAX_BYTES = 10 * 2 ** 20;
/** Of hundreds of files, so that no key press waits until all are looked into. */
const AT_ONCE = 16;
/** The samples are painted, and come from no microscope. */
const SAMPLE_PROFILE = "painted";
const SAMPLES = ["basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"];

/**
 * The place where files are dropped; `take(files)` gets them, zips unpacked, `takeSamples(files)` the samples. `compact`
 * makes it small; `offerSamples` says whether they are to be had.
 */
export function intake(take, takeSamples = take, samplesName = t("trySamples")) {
  const problem = el("p", {class: "problem", role: "alert"});
  // What a file is called proves nothing: the service says of each whether it can read it.
  const files = picker({id: "files"}, (chosen) => taken(chosen));
  // Of a folder only what begins as an image does: nobody chose its files one by one.
  const folder = picker({id: "folder", webkitdirectory: true}, async (chosen) => taken(await imagesAmong(chosen)));

  async function taken(chosen) {
    problem.textContent = "";
    const parts = [];
    for (let at = 0; at < chosen.length; at += AT_ONCE) {
      parts.push(...await Promise.all(chosen.slice(at, at + AT_ONCE).map(unpacked)));
    }
    const images = parts.flatMap((part) => part.images);
    const tooLarge = parts.flatMap((part) => part.tooLarge);
    problem.textContent = [
      ...parts.map((part) => part.problem).filter(Boolean),
      tooLarge.length ? t("tooLarge", {count: number(tooLarge.length), names: tooLarge.map((name) => `“${name}”`).join(", ")}) : "",
    ].filter(Boolean).join(" ") || (images.length ? "" : t("noImages"));
    if (images.length) {
      announce(t("filesTaken", {count: number(images.length)}));
      take(images);
    }
  }

  async function fetchSamples() {
    const found = await Promise.all(SAMPLES.map(async (name) => {
      const response = await fetch(`web/samples/${name}.jpg`);
      const file = new File([await response.blob()], `${name}.jpg`, {type: "image/jpeg"});
      return Object.assign(file, {profile: SAMPLE_PROFILE});
    }));
    problem.textContent = "";
    announce(t("filesTaken", {count: number(found.length)}));
    takeSamples(found);
  }

  const samples = el("button", {type: "button", id: "samples", onclick: fetchSamples}, samplesName);
  const node = el("div", {class: "drop"},
    el("p", {class: "drop-words"}, t("dropHere")),
    el("p", {class: "buttons"},
      files, el("label", {for: "files", class: "button primary"}, t("chooseFiles")),
      folder, el("label", {for: "folder", class: "button"}, t("chooseFolder")),
      samples),
    el("p", {class: "note drop-words"}, t("whatIsTaken")),
    problem);
  for (const over of ["dragenter", "dragover"]) {
    node.addEventListener(over, (event) => { event.preventDefault(); node.classList.add("over"); });
  }
  for (const out of ["dragleave", "drop"]) node.addEventListener(out, () => node.classList.remove("over"));
  return {
    node, taken,
    compact: (isSmall) => node.classList.toggle("compact", isSmall),
    offerSamples: (isOffered) => { samples.hidden = !isOffered; },
  };
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

/** The images among files, zips unpacked. */
export async function imagesIn(files) {
  return (await Promise.all(files.map(unpacked))).flatMap(({images}) => images);
}

async function unpacked(file) {
  try {
    if (await isZip(file)) return await imagesOfZip(file, MAX_BYTES);
    return file.size > MAX_BYTES ? {images: [], tooLarge: [file.name]} : {images: [file], tooLarge: []};
  } catch {
    return {images: [], tooLarge: [], problem: t("badZip", {name: file.name})};
  }
}

/** Those of the files that are images by their first bytes. */
async function imagesAmong(files) {
  const found = await Promise.all(files.map(isImage));
  return files.filter((file, at) => found[at]);
}

/** What is dropped, folders with all that lies in them; to be called while the event is handled. */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.map(async (entry) => (
    entry.isDirectory ? imagesAmong(await filesIn(entry)) : [await fileOf(entry)])));
  return found.flat();
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
      else files.push(await fileOf(entry));
    }
  }
}

const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));
