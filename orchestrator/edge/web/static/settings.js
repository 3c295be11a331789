// What a person has chosen, kept in this browser. Listeners hear of every change.

const KEY = "wbc.settings";

export const DEFAULTS = Object.freeze({
  language: (navigator.language || "en").toLowerCase().startsWith("tr") ? "tr" : "en",
  theme: "system",
  palette: "standard",
  profile: "",
  tta: "",
  writer: "configured",
  colourMap: "green",
  heat: "over",
  kind: "cell",
  contours: true,
  opacity: 60,
  outlines: false,
  keepHistory: true,
  keys: {next: "j", previous: "k", accept: "Enter", undo: "u", sign: "s", heat: "h", gallery: "g", comment: "c",
    labels: ["1", "2", "3", "4", "5", "0"]},
});

const CHOICES = {
  language: ["en", "tr"],
  theme: ["system", "light", "dark"],
  palette: ["standard", "colour-blind"],
  colourMap: ["green", "viridis", "inferno", "cividis", "jet"],
  heat: ["over", "beside", "held"],
  kind: ["cell", "field"],
  tta: ["", "none", "light", "adaptive"],
  writer: ["configured", "rule-based", "none"],
};

class Settings extends EventTarget {
  #values = read();

  get(name) {
    return this.#values[name];
  }

  /** Change some of them: `settings.change({language: "tr"})`. */
  change(changes) {
    this.#values = valid({...this.#values, ...changes});
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#values));
    } catch {
      // A browser that keeps nothing: the choice holds until the page is closed.
    }
    this.dispatchEvent(new CustomEvent("change", {detail: Object.keys(changes)}));
  }

  reset() {
    this.change({...DEFAULTS});
  }
}

function read() {
  try {
    return valid({...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) || "{}")});
  } catch {
    return {...DEFAULTS};
  }
}

/** What was stored by an older page, or by hand, must not break this one. */
function valid(values) {
  const checked = {};
  for (const [name, standard] of Object.entries(DEFAULTS)) {
    const value = values[name];
    const isOne = CHOICES[name] ? CHOICES[name].includes(value) : typeof value === typeof standard;
    checked[name] = isOne ? value : standard;
  }
  checked.opacity = Math.min(100, Math.max(0, checked.opacity));
  checked.keys = {...DEFAULTS.keys, ...checked.keys};
  if (!Array.isArray(checked.keys.labels) || checked.keys.labels.length !== 6) {
    checked.keys.labels = [...DEFAULTS.keys.labels];
  }
  return checked;
}

export const settings = new Settings();

/** What is chosen for an analysis; a file that has a profile of its own, such as a sample, keeps that. */
export function analysisChoice(file = null) {
  const writer = settings.get("writer");
  return {
    language: settings.get("language"), profile: file?.profile ?? settings.get("profile"), tta: settings.get("tta"),
    writer: writer === "none" ? "" : writer,
  };
}
