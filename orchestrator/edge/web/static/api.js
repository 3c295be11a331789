// Every question to the service. Errors are of one kind, and know whether and when to try again.

/** What the service refused, or could not be asked. `status` is 0 where there was no answer at all. */
export class ServiceError extends Error {
  constructor(status, message, {retryAfterS = null, kind = ""} = {}) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
    /** The last word of the problem's type, such as `field-too-small`. */
    this.kind = kind;
  }

  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status === 503 || this.status === 504;
  }
}

const KEY = "wbc.key";

/** The API key of this tab, where the service asks for one; it is forgotten when the tab is closed. */
export const apiKey = () => sessionStorage.getItem(KEY) || "";

export function setApiKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** Fetch, and make a ServiceError of whatever is no success; that it is as the caller has it is one. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (apiKey()) headers.set("X-API-Key", apiKey());
  let response;
  try {
    response = await fetch(path, {credentials: "same-origin", ...options, headers});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, "");
  }
  if (response.ok || response.status === 304) return response;
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After"));
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // No problem document: a proxy's page, for instance.
  }
  throw new ServiceError(
    response.status, problem.detail || problem.title || response.statusText,
    {retryAfterS: Number.isFinite(retryAfter) ? retryAfter : null, kind: String(problem.type ?? "").split(":").at(-1)},
  );
}

/** An address of what lies at `path`, for an image or a download, which cannot send a key themselves. */
export async function blobAddress(path) {
  return URL.createObjectURL(await blobOf(path));
}

export const blobOf = async (path) => (await ask(path)).blob();

export async function model(signal) {
  return (await ask("v1/model", {signal})).json();
}

export async function isReady(signal) {
  await ask("readyz", {signal});
}

/** The analysis of one image: levels of heat and outlines, so that colours and opacity are the page's. */
export async function analyse(file, {signal, ...options}) {
  return (await ask("v1/analyses", {method: "POST", body: form(file, {...options, report: "none"}), signal})).json();
}

/** All white cells of a field; a Blob where another `format` than JSON is asked for. */
export async function analyseField(file, {signal, profile, tta, format = ""}) {
  const response = await ask("v1/fields", {method: "POST", body: filled({profile, tta, format}, file), signal});
  return format ? response.blob() : response.json();
}

function form(file, {language, profile, tta, writer, report}) {
  return filled({language, profile, tta, heatmap_style: "levels", outlines: "true", report, writer}, file);
}

function filled(fields, file) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value) body.append(name, value);
  // Under a name of the page's own: what a file is called may name a patient.
  body.append("file", file, "cell");
  return body;
}

/** The same with its report, which comes later: two promises, `result` and `report`. */
export function analyseAndReport(file, options) {
  const result = Promise.withResolvers();
  const report = Promise.withResolvers();
  report.promise.catch(() => {});  // who only wants the result need not listen
  streamed(file, options, (name, data) => {
    if (name === "analysis") result.resolve(data);
    else if (name === "report") report.resolve(data);
    else if (name === "error") report.reject(new ServiceError(data.status ?? 500, data.detail ?? ""));
  }).then(() => { throw new ServiceError(0, ""); })  // of no effect where all has come
    .catch((error) => { result.reject(error); report.reject(error); });
  return {result: result.promise, report: report.promise};
}

async function streamed(file, {signal, ...options}, onEvent) {
  const response = await ask("v1/analyses", {
    method: "POST", body: form(file, {...options, report: "stream"}), signal, headers: {Accept: "text/event-stream"},
  });
  await readEvents(response, onEvent);
}

/** Read server-sent events (WHATWG HTML, section 9.2) from a response of fetch. */
export async function readEvents(response, onEvent) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    buffered += value.replaceAll("\r\n", "\n");
    let end;
    while ((end = buffered.indexOf("\n\n")) >= 0) {
      dispatch(buffered.slice(0, end), onEvent);
      buffered = buffered.slice(end + 2);
    }
  }
}

function dispatch(block, onEvent) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  if (data.length) onEvent(name, JSON.parse(data.join("\n")));
}
