// The choices of a person, each with effect at once.

import {apiKey, setApiKey} from "./api.js";
import {el, fill} from "./dom.js";
import {className, keyName, t} from "./messages.js";
import {settings} from "./settings.js";
import {CLASSES} from "./cell_detail.js";

const LABELS = [...CLASSES, "Unidentified"];

export class SettingsView {
  #place;
  #service;

  /** `service()` gives what `/v1/model` said, or null. */
  constructor(place, service) {
    this.#place = place;
    this.#service = service;
  }

  render() {
    const profiles = this.#service()?.profiles || [];
    const writers = (this.#service()?.report_writers || []).map((one) => (one.model ? `${one.name} (${one.model})` : one.name));
    const configured = writers.length ? `${t("writerConfigured")}: ${writers.join(", ")}` : t("writerConfigured");
    fill(this.#place,
      el("h2", {id: "settings-title"}, t("settings")),
      el("form", {class: "settings", onsubmit: (event) => event.preventDefault()},
        el("fieldset", {}, el("legend", {}, t("appearance")),
          choice("language", [["en", "English"], ["tr", "Türkçe"]]),
          choice("theme", [["system", t("themeSystem")], ["light", t("themeLight")], ["dark", t("themeDark")]]),
          choice("palette", [["standard", t("paletteStandard")], ["colour-blind", t("paletteColourBlind")]])),
        el("fieldset", {}, el("legend", {}, t("analysis")),
          choice("profile", [["", t("profileDefault")], ...profiles.map((one) => [one.name, `${one.name}: ${one.description}`])]),
          choice("tta", [["", t("ttaProfile")], ["none", t("ttaNone")], ["adaptive", t("ttaAdaptive")], ["light", t("ttaLight")]]),
          choice("writer", [["configured", configured], ["rule-based", t("writerRules")], ["none", t("writerNone")]])),
        el("fieldset", {}, el("legend", {}, t("access")),
          el("p", {class: "field"},
            el("label", {for: "api-key"}, t("apiKey")),
            el("input", {type: "password", id: "api-key", value: apiKey(), autocomplete: "off",
              onchange: (event) => setApiKey(event.target.value.trim()), "aria-describedby": "api-key-note"}),
            el("span", {class: "note", id: "api-key-note"}, t("apiKeyNote")))),
        el("fieldset", {}, el("legend", {}, t("history")), check("keepHistory", t("keepHistory")),
          el("p", {class: "note"}, t("keepHistoryNote"))),
        el("fieldset", {}, el("legend", {}, t("keys")),
          el("p", {class: "note"}, t("keysNote")),
          ["next", "previous", "accept", "undo", "sign", "heat", "gallery", "comment"].map((name) => key(name, t(`key_${name}`))),
          LABELS.map((label, index) => labelKey(index, className(label))),
          el("p", {class: "problem", role: "alert", id: "key-problem"})),
        el("p", {}, el("button", {
          type: "button", id: "reset", onclick: () => { settings.reset(); this.render(); },
        }, t("resetSettings")))));
  }
}

function choice(name, options) {
  const id = `setting-${name}`;
  return el("p", {class: "field"},
    el("label", {for: id}, t(`setting_${name}`)),
    el("select", {id, onchange: (event) => settings.change({[name]: event.target.value})},
      options.map(([value, text]) => el("option", {value, selected: settings.get(name) === value}, text))));
}

function check(name, text) {
  const id = `setting-${name}`;
  return el("p", {class: "field check"},
    el("input", {type: "checkbox", id, checked: settings.get(name),
      onchange: (event) => settings.change({[name]: event.target.checked})}),
    el("label", {for: id}, text));
}

/** A field that takes the next key pressed in it, unless something else has that key already. */
function keyField(id, text, value, change) {
  return el("p", {class: "field"},
    el("label", {for: id}, text),
    el("input", {
      type: "text", id, value: keyName(value), size: "8", readonly: true, class: "key",
      onkeydown: (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (["Tab", "Shift", "Control", "Alt", "AltGraph", "Meta", "Escape", "Dead", "Process"].includes(event.key)) return;
        event.preventDefault();
        const isTaken = event.key !== value && allKeys().includes(event.key);
        document.getElementById("key-problem").textContent = isTaken ? t("keyIsTaken", {key: keyName(event.key)}) : "";
        if (isTaken) return;
        value = event.key;
        event.target.value = keyName(value);
        change(value);
      },
    }));
}

function allKeys() {
  const {labels, ...others} = settings.get("keys");
  return [...Object.values(others), ...labels];
}

function key(name, text) {
  return keyField(`key-${name}`, text, settings.get("keys")[name],
    (pressed) => settings.change({keys: {...settings.get("keys"), [name]: pressed}}));
}

function labelKey(index, text) {
  return keyField(`key-label-${index}`, text, settings.get("keys").labels[index], (pressed) => {
    const labels = [...settings.get("keys").labels];
    labels[index] = pressed;
    settings.change({keys: {...settings.get("keys"), labels}});
  });
}
