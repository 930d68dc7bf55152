// The study, what is chosen of it, and how its numbers are read and written.

const study = JSON.parse(document.getElementById("study").textContent);

const INTERVALS = {
  widest: "the widest there is",
  both: "over participants and stimuli",
  participants: "over participants",
  stimuli: "over stimuli",
  none: "none",
};

// of encoding: column -> name; none where a study has none
const MEASURES = study.measures ?? {};

// what is chosen; layer and pair are what is pointed at
const state = {
  brain: Object.keys(study.brains)[0],
  measure: study.comparators[0], // a comparator of RSA, or one of MEASURES
  interval: "widest",
  ceilings: new Set(["split-half over participants", "expected of the true RSM", "voxels, over runs"]),
  models: new Set(),
  region: "",
  model: "",
  layer: 0,
  pair: [1, 0],
  protocol: "",
  partition: "",
  sort: { column: -1, descending: false },
};

const getBrain = () => study.brains[state.brain];
const getFit = (model, region) => getBrain().models[model]?.fits[state.measure]?.[region];
const getHeldOut = (model, region) => getBrain().models[model]?.held_out?.[state.measure]?.[region];
// in the order of Table 1; that of an object's keys has numbers first
const listRegions = () => getBrain().table.regions;
const listAvailable = () => getBrain().table.rows.map((row) => row.model).filter((name) => name in getBrain().models);
const listShown = () => listAvailable().filter((name) => state.models.has(name));
const getLine = (name) => ({ color: study.colors[study.models[name].framework], dash: DASHES[name] });

// models of one framework have its colour, and each a dash of its own
const DASH_STYLES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,6px", "12px,3px"];
const DASHES = {};
for (const framework of Object.keys(study.colors)) {
  const names = Object.keys(study.models).filter((name) => study.models[name].framework === framework);
  names.forEach((name, i) => (DASHES[name] = DASH_STYLES[i % DASH_STYLES.length]));
}

// Return an element; children are elements, or strings, which become text and never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const find = (id) => document.getElementById(id);

// plotly.js reads some markup in its texts: take it away
const escapeText = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function format(value, digits = 3) {
  if (value == null) return "none";
  const text = value.toFixed(digits);
  return text.replace("-", Number(text) ? "\u2212" : ""); // no -0.000
}

// Return p or q: one that is small is not 0.
function formatP(value) {
  return value != null && value < 0.0001 ? "< 0.0001" : format(value, 4);
}

// The kind of interval that is drawn for a region: the chosen one, or of the widest the one that exists.
function chooseInterval(fit) {
  const kinds = state.interval === "widest" ? ["both", "participants", "stimuli"] : [state.interval];
  return kinds.find((kind) => fit?.[`${kind}_low`]?.some((value) => value != null));
}

function getInterval(fit, layer) {
  const kind = chooseInterval(fit);
  const low = kind ? fit[`${kind}_low`][layer] : null;
  return low == null ? null : { kind, low, high: fit[`${kind}_high`][layer] };
}

function describeInterval(fit, layer) {
  const interval = getInterval(fit, layer);
  return interval ? `, 95% interval ${INTERVALS[interval.kind]} ${format(interval.low)} to ${format(interval.high)}` : "";
}

// The layer with the highest r, -1 where no layer has one.
function findBest(fit) {
  return fit?.best ?? -1;
}

// The ceilings that are to be drawn: those of the measure.
function listCeilings(region) {
  return getBrain().regions[region].ceilings.filter(
    (row) => state.ceilings.has(row.kind) && row.r != null && (row.comparator ?? "pearson") === state.measure,
  );
}

// What can be chosen of this brain.
function listMeasures() {
  const has = (measure) => Object.values(getBrain().models).some((model) => model.fits[measure]);
  return [...study.comparators, ...Object.keys(MEASURES).filter(has)];
}

function listCeilingKinds() {
  const rows = Object.values(study.brains).flatMap((brain) => Object.values(brain.regions).flatMap((r) => r.ceilings));
  return [...new Set(rows.map((row) => row.kind))];
}

// Where a layer lies between a model's first (0) and last (1).
const getDepth = (layer, n) => (n > 1 ? layer / (n - 1) : 0.5);

// An RSM of the page: levels as bytes, and the similarity of two stimuli (null where it is not defined).
const decoded = new WeakMap();
function readRsm(stored) {
  if (!decoded.has(stored)) {
    const bytes = Uint8Array.from(atob(stored.levels), (character) => character.charCodeAt(0));
    decoded.set(stored, {
      bytes,
      error: (stored.high - stored.low) / 508,
      get: (a, b) => {
        const byte = bytes[findPair(a, b)];
        return byte === 255 ? null : stored.low + (byte * (stored.high - stored.low)) / 254;
      },
    });
  }
  return decoded.get(stored);
}

// The place of two stimuli in the lower triangle, row by row.
function findPair(a, b) {
  const [row, column] = a > b ? [a, b] : [b, a];
  return (row * (row - 1)) / 2 + column;
}
