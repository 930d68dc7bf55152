// The controls, and what is drawn again when one of them changes.

function fillSelect(id, options, chosen, onChange) {
  const select = find(id);
  select.replaceChildren(...options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
  select.onchange = () => onChange(select.value);
}

function makeTick(text, checked, onChange, swatch) {
  const box = make("input", { type: "checkbox", checked, change: () => onChange(box.checked) });
  return make("label", {}, box, ...(swatch ? [swatch] : []), text);
}

// A short piece of a model's line.
function makeSwatch({ color, dash }) {
  const lengths = { solid: "none", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4", longdashdot: "11 3 2 3" };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const attributes = { x1: 0, y1: 6, x2: 28, y2: 6, stroke: color, "stroke-width": 3 };
  attributes["stroke-dasharray"] = lengths[dash] ?? dash.replaceAll("px", "").replace(",", " ");
  for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
  for (const [name, value] of Object.entries({ width: 28, height: 12, "aria-hidden": "true" })) svg.setAttribute(name, value);
  svg.append(line);
  return svg;
}

function tick(names) {
  state.models = new Set(names);
  fillModels();
  keepLayer();
  draw();
}

function fillModels() {
  find("models").querySelector("ul").replaceChildren(
    ...Object.entries(study.models).map(([name, { origin, reason }]) => {
      if (origin === "unavailable") return make("li", {}, `${name} (unavailable: ${reason})`);
      const toggle = (on) => {
        state.models[on ? "add" : "delete"](name);
        keepLayer();
        draw();
      };
      return make("li", {}, makeTick(`${name}`, state.models.has(name), toggle, makeSwatch(getLine(name))));
    }),
  );
}

// Keep pointing at something that is shown: else at the best layer of the first model that is.
function keepLayer() {
  if (!listMeasures().includes(state.measure)) state.measure = study.comparators[0];
  if (!listRegions().includes(state.region)) state.region = listRegions().at(-1);
  const names = listShown().length ? listShown() : listAvailable();
  if (!names.includes(state.model)) {
    state.model = names[0];
    state.layer = Math.max(0, findBest(getFit(state.model, state.region)));
  }
  const n = getBrain().stimuli.length;
  if (Math.max(...state.pair) >= n) state.pair = [1, 0];
  state.layer = Math.min(state.layer, getBrain().models[state.model].layers.length - 1);
}

function chooseLayer(region, model, layer) {
  if (region === state.region && model === state.model && layer === state.layer) return;
  Object.assign(state, { region, model, layer });
  showLayer();
}

function showLayer() {
  listRegions().forEach(markLayer);
  find("layer").textContent = `${describeLayer(state.region)}.`;
  drawMatrices();
}

function draw() {
  fillMeasures();
  drawPlots();
  showLayer();
  drawPartitions();
  drawTable();
  if (find("curves-table").open) listCurves();
}

const change = (key) => (value) => {
  state[key] = value;
  keepLayer();
  draw();
};

// The comparators of RSA; where a brain has encoding, its measures beside them.
function fillMeasures() {
  const names = listMeasures();
  const encoded = names.some((name) => name in MEASURES);
  find("measure").previousSibling.textContent = encoded ? "Measure " : "Comparator ";
  const options = names.map((name) => [name, MEASURES[name] ?? (encoded ? `RSA, ${name}` : name)]);
  fillSelect("measure", options, state.measure, change("measure"));
}

// Make the controls say what is chosen.
function fillControls() {
  const brains = Object.entries(study.brains).map(([name, brain]) => [name, brain.title]);
  fillSelect("brain", brains, state.brain, change("brain"));
  fillSelect("interval", Object.entries(INTERVALS), state.interval, change("interval"));
  const protocols = new Set(Object.values(study.models).flatMap((model) => model.accuracies.map((row) => row.protocol)));
  const options = [["", "each model's own protocol, as in Table 1"], ...[...protocols].map((name) => [name, name])];
  fillSelect("protocol", options, state.protocol, change("protocol"));
  const ceilings = listCeilingKinds().map((kind) =>
    makeTick(kind, state.ceilings.has(kind), (on) => {
      state.ceilings[on ? "add" : "delete"](kind);
      draw();
    }),
  );
  find("ceilings").replaceChildren(find("ceilings").firstElementChild, ...ceilings);
  fillModels();
}

// plotly.js is packed in the page (gzip, base64): unpack and run it.
async function loadPlotly() {
  const packed = Uint8Array.from(atob(find("plotly").textContent), (character) => character.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  document.head.append(make("script", {}, await new Response(unpacked).text()));
}

function start() {
  find("all").onclick = () => tick(listAvailable());
  find("none").onclick = () => tick([]);
  find("controls").onsubmit = (event) => event.preventDefault();
  find("curves-table").ontoggle = listCurves;
  find("pairs-table").ontoggle = listPairs;
  find("layer-provenance").onclick = () => showProvenance(`${state.model}, ${state.region}`, listLayerSources());
  makeMatrices();
  fillControls();
  tick(study.shown);
  addEventListener("beforeprint", () => setWidth("660px"));
  addEventListener("afterprint", () => setWidth(""));
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(drawPlots, 100);
  });
}

function drawPlots() {
  drawLayers();
  drawScatters();
}

// on paper the plots have the paper's width
function setWidth(width) {
  for (const frame of document.querySelectorAll("#curves .frame, #scatters .frame")) frame.style.width = width;
  drawPlots();
}

if ("DecompressionStream" in window) loadPlotly().then(start);
else find("made").textContent = "This page needs a browser of 2023 or later.";
