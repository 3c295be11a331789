// The service's differentials: what is asked of `/v1/differentials`, in one place.

import {ask, readEvents} from "./api.js";
import {decimalSeparator} from "./messages.js";

const NOT_MODIFIED = 304;

const path = (id, rest = "") => `v1/differentials/${encodeURIComponent(id)}${rest}`;

/** A key that no other order has. Not `randomUUID`: over plain http a browser has that on its own machine alone. */
export const orderKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Order one; its id. The key makes a second try of the same order the same order. */
export async function order(files, {specimenId, totalWbc, profile, tta, kind, key}) {
  const body = new FormData();
  body.append("specimen_id", specimenId);
  if (totalWbc) body.append("total_wbc", String(totalWbc));
  if (profile) body.append("profile", profile);
  if (tta) body.append("tta", tta);
  body.append("kind", kind);
  files.forEach((file, index) => body.append("files", file, `cell-${index + 1}`));
  const response = await ask("v1/differentials", {method: "POST", body, headers: {"Idempotency-Key": key}});
  return (await response.json()).id;
}

/** One; null where it is still that of the `etag`. */
export const get = (id, etag = null) => unlessKnown(path(id), etag);
/** A part of the list, with its `etag`; null where it is still that of the `etag`. */
export function page(asked, etag = null) {
  const query = new URLSearchParams(Object.entries(asked).flatMap(([name, value]) => [value].flat().map((one) => [name, one])));
  return unlessKnown(`v1/differentials?${query}`, etag);
}

async function unlessKnown(address, etag) {
  const response = await ask(address, {headers: etag ? {"If-None-Match": `"${etag}"`} : {}});
  if (response.status === NOT_MODIFIED) return null;
  return {etag: response.headers.get("ETag")?.replaceAll('"', "") ?? null, ...await response.json()};
}

/** As whom the service knows who asks. */
export const whoAsks = async () => (await page({limit: 1})).person;

/** Say who has it; `insteadOf` is whom the person saw it with, which the service refuses with 412 where that is so no more. */
export const assign = (id, assignee, insteadOf) => changed(path(id, "/assign"), {
  method: "POST", body: JSON.stringify({assignee, instead_of: insteadOf}), headers: {"Content-Type": "application/json"},
});
/** Keep what a person wrote about a cell, or about the specimen where `cell` is null. */
export const comment = (id, text, cell) => written(path(id, "/comments?cells=false"), {text, cell_id: cell});
/** The same after the signature. */
export const addTo = (id, text) => written(path(id, "/addenda?cells=false"), {text});
export const cancel = (id) => changed(path(id, "/cancel"), {method: "POST"});
// What follows names the state that it rests on; the service refuses it with 412 where that is so no more.
export const sign = (id, etag) => changed(path(id, "/sign"), {method: "POST", headers: ifMatch(etag)});
export const undecide = (id, cell, etag) => changed(path(id, `/cells/${encodeURIComponent(cell)}/decision`), {
  method: "DELETE", headers: ifMatch(etag),
});
export const audit = async (id) => (await ask(path(id, "/audit"))).json();
export const imageUrl = (id, cell) => path(id, `/cells/${encodeURIComponent(cell)}/image`);
export const exports = (id) => ({
  csv: path(id, `/export.csv?spreadsheet=${decimalSeparator()}`), cells: path(id, `/export.csv?table=cells&spreadsheet=${decimalSeparator()}`),
  json: path(id), fhir: path(id, "/fhir"), hl7: path(id, "/hl7"), dicom: path(id, "/dicom"),
});

/** Add the cell in this `box` of a field. */
export const addCell = (id, field, box, etag) => changed(path(id, `/fields/${encodeURIComponent(field)}/cells`), {
  method: "POST", body: JSON.stringify(box), headers: {"Content-Type": "application/json", ...ifMatch(etag)},
});

export function decide(id, cell, label, etag) {
  return changed(path(id, `/cells/${encodeURIComponent(cell)}/decision`), {
    method: "POST", body: JSON.stringify({label}), headers: {"Content-Type": "application/json", ...ifMatch(etag)},
  });
}

const written = (address, body) => changed(address, {
  method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json"},
});

const ifMatch = (etag) => (etag ? {"If-Match": `"${etag}"`} : {});

/** Every change is answered with the differential that follows from it. */
async function changed(address, options) {
  return (await ask(address, options)).json();
}

/** Hear of progress until it ends or `signal` says so. */
export async function follow(id, onEvent, signal) {
  await readEvents(await ask(path(id, "/events"), {signal, headers: {Accept: "text/event-stream"}}), onEvent);
}
