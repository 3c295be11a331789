// How images come in: dropped, chosen, pasted, from a zip or a folder, or the samples of this page.

import {announce, el} from "./dom.js";
import {number, t} from "./messages.js";
import {settings} from "./settings.js";
import {imagesOfZip, isImage, isZip} from "./zip.js";

const MAX_MIB = {cell: 10, field: 64};
/** Of hundreds of files, so that no key press waits until all are looked into. */
const AT_ONCE = 16;
/** The samples are painted, and come from no microscope. */
const SAMPLE_PROFILE = "painted";
const SAMPLES = ["basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"];

/**
 * The place where files are dropped; `take(files)` gets them, zips unpacked, `takeSamples(files)` the samples. Where it
 * `takesFields`, a person chooses what the images show, and those of whole fields have the `kind` "field". `compact`
 * makes it small; `offerSamples` says whether they are to be had.
 */
export function intake(take, {takeSamples = take, samplesName = t("trySamples"), takesFields = false} = {}) {
  const kind = () => (takesFields ? settings.get("kind") : "cell");
  const problem = el("p", {class: "problem", role: "alert"});
  // What a file is called proves nothing: the service says of each whether it can read it.
  const files = picker({id: "files"}, (chosen) => taken(chosen));
  // Of a folder only what begins as an image does: nobody chose its files one by one.
  const folder = picker({id: "folder", webkitdirectory: true}, async (chosen) => taken(await imagesAmong(chosen)));

  async function taken(chosen) {
    problem.textContent = "";
    const parts = [];
    for (let at = 0; at < chosen.length; at += AT_ONCE) {
      parts.push(...await Promise.all(chosen.slice(at, at + AT_ONCE).map((file) => unpacked(file, kind()))));
    }
    const images = parts.flatMap((part) => part.images);
    const tooLarge = parts.flatMap((part) => part.tooLarge);
    problem.textContent = [
      ...parts.map((part) => part.problem).filter(Boolean),
      tooLarge.length ? t("tooLarge", {limit: number(MAX_MIB[kind()]), names: tooLarge.map((name) => `“${name}”`).join(", ")}) : "",
    ].filter(Boolean).join(" ") || (images.length ? "" : t("noImages"));
    if (images.length) {
      announce(t("filesTaken", {count: number(images.length)}));
      take(images.map((file) => Object.assign(file, {kind: kind()})));
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
  const words = el("p", {class: "drop-words"});
  const note = el("p", {class: "note drop-words"});
  function dress() {
    words.textContent = t(`drop_${kind()}`);
    note.textContent = t("whatIsTaken", {limit: number(MAX_MIB[kind()])});
  }
  dress();
  const node = el("div", {class: "drop"},
    takesFields ? kindChoice(dress) : null,
    words,
    el("p", {class: "buttons"},
      files, el("label", {for: "files", class: "button primary"}, t("chooseFiles")),
      folder, el("label", {for: "folder", class: "button"}, t("chooseFolder")),
      samples),
    note,
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

function kindChoice(changed) {
  return el("div", {class: "buttons", role: "radiogroup", "aria-label": t("imagesShow")},
    Object.keys(MAX_MIB).map((kind) => el("span", {class: "check"},
      el("input", {type: "radio", name: "kind", id: `kind-${kind}`, checked: kind === settings.get("kind"),
        onchange: () => { settings.change({kind}); changed(); }}),
      el("label", {for: `kind-${kind}`}, t(`kind_${kind}`)))));
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
  return (await Promise.all(files.map((file) => unpacked(file, "cell")))).flatMap(({images}) => images);
}

async function unpacked(file, kind) {
  const maxBytes = MAX_MIB[kind] * 2 ** 20;
  try {
    if (await isZip(file)) return await imagesOfZip(file, maxBytes);
    return file.size > maxBytes ? {images: [], tooLarge: [file.name]} : {images: [file], tooLarge: []};
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
