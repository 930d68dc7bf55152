// The curves over layers, and what all plots share.

// Plots are pictures; pointing and keys are handled here, alike for mouse, touch and keyboard.
const CONFIG = { staticPlot: true };
const REACH = 30; // pixels: a point is pointed at from as far
const FONT = { family: "system-ui, sans-serif", size: 12, color: "#222" };
const CEILING_DASHES = ["6px,3px", "2px,3px", "10px,3px,2px,3px", "14px,4px"];

const AXIS = { zeroline: false, showgrid: true, gridcolor: "#eee", linecolor: "#666", ticks: "outside" };

function drawLayers() {
  const place = find("curves");
  const regions = listRegions();
  if (place.dataset.brain !== state.brain) {
    place.querySelectorAll(".plot").forEach((plot) => Plotly.purge(plot));
    place.replaceChildren(...regions.map(makeCurves));
    place.dataset.brain = state.brain;
  }
  regions.forEach(drawCurves);
}

function makeCurves(region, i) {
  const plot = make("div", { class: "plot", id: `curves-${i}`, "aria-hidden": "true" });
  const frame = make(
    "div",
    { class: "frame", role: "slider", tabindex: 0, "aria-describedby": `curves-${i}-text`, keydown: moveLayer, focus: select,
      pointermove: pointAtLayer, pointerdown: pointAtLayer },
    plot,
    make("div", { class: "ring", hidden: true }, make("span", { "aria-hidden": "true" })),
  );
  function select() {
    chooseLayer(region, state.model, state.layer);
  }
  frame.dataset.region = region;
  return make("figure", {}, make("h3", {}, region), frame, make("figcaption", { id: `curves-${i}-text` }));
}

// Return the nearest to the pointer of some [x, y, what], x and y in values of a plot, if any is near.
function findNearest(event, points) {
  const plot = event.currentTarget.querySelector(".plot");
  const box = plot.getBoundingClientRect();
  let [least, nearest] = [REACH, null];
  for (const [x, y, what] of points) {
    const distance = Math.hypot(box.x + plot.scales.toX(x) - event.clientX, box.y + plot.scales.toY(y) - event.clientY);
    if (distance < least) [least, nearest] = [distance, what];
  }
  return nearest;
}

function pointAtLayer(event) {
  const { region } = event.currentTarget.dataset;
  const points = listShown().flatMap((name) => {
    const { r } = getFit(name, region) ?? { r: [] };
    return r.flatMap((value, i) => (value == null ? [] : [[getDepth(i, r.length), value, { name, i }]]));
  });
  const nearest = findNearest(event, points);
  if (nearest) chooseLayer(region, nearest.name, nearest.i);
}

function moveLayer(event) {
  const names = listShown();
  const n = getBrain().models[state.model]?.layers.length ?? 0;
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: 10, PageDown: -10, Home: -n, End: n };
  const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!n || !(event.key in steps || turn)) return;
  event.preventDefault();
  const region = event.currentTarget.dataset.region;
  if (turn) {
    const model = names[(names.indexOf(state.model) + turn + names.length) % names.length];
    const depth = getDepth(state.layer, n);
    chooseLayer(region, model, Math.round(depth * (getBrain().models[model].layers.length - 1)));
  } else {
    chooseLayer(region, state.model, Math.min(n - 1, Math.max(0, state.layer + steps[event.key])));
  }
}

// Return the polygons of an interval, one for each run of layers that have it.
function makeBand(fit, depths) {
  const x = [];
  const y = [];
  let run = [];
  for (let i = 0; i <= depths.length; i++) {
    const interval = i < depths.length ? getInterval(fit, i) : null;
    if (interval) {
      run.push([depths[i], interval]);
    } else if (run.length) {
      const back = [...run].reverse();
      x.push(...run.map(([depth]) => depth), ...back.map(([depth]) => depth), null);
      y.push(...run.map((part) => part[1].low), ...back.map((part) => part[1].high), null);
      run = [];
    }
  }
  return { x, y };
}

// The layer that was chosen on other stimuli, at its value on those held out, or where this is not measured, on the curve.
function makeDiamond(name, region, depths, fit) {
  const held = getHeldOut(name, region);
  const y = held?.r ?? fit.r[held?.layer];
  if (y == null) return [];
  const { color } = getLine(name);
  const limits = held.low == null ? null : { type: "data", array: [held.high - y], arrayminus: [y - held.low], color, thickness: 1 };
  return [{
    x: [depths[held.layer]], y: [y], mode: "markers", error_y: limits, meta: { heldOut: name },
    marker: { symbol: "diamond", size: 11, color, line: { color: "#fff", width: 1.5 } },
  }];
}

// Bands below all lines, fainter where there are many.
function makeTraces(region) {
  const bands = [];
  const lines = [];
  const diamonds = [];
  const opacity = listShown().length > 6 ? "0c" : "22";
  for (const name of listShown()) {
    const fit = getFit(name, region);
    if (!fit) continue;
    const { layers } = getBrain().models[name];
    const depths = layers.map((_, i) => getDepth(i, layers.length));
    const { color, dash } = getLine(name);
    const band = makeBand(fit, depths);
    if (layers.length > 1) {
      bands.push({ ...band, mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: color + opacity });
    }
    const bar = layers.length === 1 ? getInterval(fit, 0) : null;
    lines.push({
      x: depths,
      y: fit.r,
      mode: "lines+markers",
      line: { color, dash, width: 2 },
      marker: { color, size: layers.length > 1 ? 4 : 9 },
      error_y: bar && { type: "data", array: [bar.high - fit.r[0]], arrayminus: [fit.r[0] - bar.low], color },
      meta: { model: name },
    });
    diamonds.push(...makeDiamond(name, region, depths, fit));
  }
  return [...bands, ...lines, ...diamonds];
}

// Functions from values to the pixels of a plot.
function makeScales({ width, height }, margin, [left, right], [low, high]) {
  return {
    toX: (x) => margin.l + ((x - left) / (right - left)) * (width - margin.l - margin.r),
    toY: (y) => margin.t + ((high - y) / (high - low)) * (height - margin.t - margin.b),
  };
}

// Lines, and bands where a ceiling has limits, with their names: a name stands left or right, above or below its line, where no other name stands. Also the boxes
// that lines and names take up: [left, top, right, bottom] in pixels.
function placeCeilings(region, { width }, margin, { toY }) {
  const rows = listCeilings(region).sort((a, b) => b.r - a.r);
  const kinds = listCeilingKinds();
  const names = [];
  const annotations = rows.map((row) => {
    const text = `${row.kind} ${format(row.r, 2)}`;
    const length = 5.8 * text.length;
    const places = ["left", "right"].flatMap((xanchor) => ["bottom", "top"].map((yanchor) => {
      const left = xanchor === "left" ? margin.l : width - margin.r - length;
      const top = toY(row.r) - (yanchor === "bottom" ? 15 : 0);
      return { xanchor, yanchor, box: [left, top, left + length, top + 15] };
    }));
    const { xanchor, yanchor, box } = places.find((place) => isFree(place.box, names)) ?? places[0];
    names.push(box);
    return {
      xref: "paper", x: xanchor === "left" ? 0 : 1, xanchor, y: row.r, yanchor, showarrow: false, borderpad: 0,
      bgcolor: "rgba(255,255,255,.75)", text: escapeText(text), font: { ...FONT, size: 11 },
    };
  });
  const shapes = rows.map((row) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, y0: row.r, y1: row.r, layer: "below",
    line: { color: "#222", width: 1.3, dash: CEILING_DASHES[kinds.indexOf(row.kind) % CEILING_DASHES.length] },
  }));
  const bands = rows.filter((row) => row.low != null).map(({ low, high }) => ({
    type: "rect", xref: "paper", x0: 0, x1: 1, y0: low, y1: high, layer: "below", fillcolor: "rgba(0,0,0,.08)", line: { width: 0 },
  }));
  shapes.push(...bands);
  return { shapes, annotations, taken: [...names, ...rows.map(({ r }) => [0, toY(r) - 2, width, toY(r) + 2])] };
}

const isFree = (box, taken) =>
  taken.every((other) => box[2] <= other[0] || other[2] <= box[0] || box[3] <= other[1] || other[3] <= box[1]);

// Names of blocks of layers below the axis, where all models that are shown have the same layers.
function makeTicks(width) {
  const names = listShown();
  const lists = names.map((name) => getBrain().models[name].layers);
  const same = lists.length && lists.every((layers) => layers.join("\n") === lists[0].join("\n"));
  if (!same || lists[0].length < 2) return { title: { text: "layer, from first (0) to last (1)", standoff: 6 } };
  const ends = lists[0].map((layer, i) => [i, layer]);
  const least = (lists[0].length * 16) / width;
  const chosen = [];
  for (const [i, layer] of ends) {
    if (!chosen.length || i - chosen.at(-1)[0] >= least) chosen.push([i, layer]);
  }
  return {
    tickvals: chosen.map(([i]) => getDepth(i, lists[0].length)),
    ticktext: chosen.map(([, layer]) => escapeText(layer.length > 16 ? `${layer.slice(0, 15)}\u2026` : layer)),
    tickangle: -90,
    tickfont: { ...FONT, size: 10 },
  };
}

function findRange(values) {
  const finite = values.filter((value) => value != null);
  const low = Math.min(0, ...finite);
  const high = Math.max(0.1, ...finite);
  return [low - 0.05 * (high - low), high + 0.1 * (high - low)];
}

function drawCurves(region, i) {
  const plot = find(`curves-${i}`);
  const traces = makeTraces(region);
  const width = plot.parentElement.clientWidth;
  const limits = listShown().map((name) => getHeldOut(name, region)).flatMap((held) => [held?.low, held?.high]);
  const ceilings = listCeilings(region).flatMap((row) => [row.r, row.low, row.high]);
  const range = findRange([...traces.flatMap((trace) => trace.y), ...limits, ...ceilings]);
  const ticks = makeTicks(width - 70);
  const size = { width, height: ticks.tickvals ? 330 : 280 };
  const margin = { l: 52, r: 12, t: 8, b: ticks.tickvals ? 96 : 42 };
  const xRange = [-0.03, 1.03];
  plot.scales = makeScales(size, margin, xRange, range);
  const { shapes, annotations } = placeCeilings(region, size, margin, plot.scales);
  const layout = {
    ...size,
    margin,
    font: FONT,
    showlegend: false,
    shapes,
    annotations,
    xaxis: { ...AXIS, range: xRange, ...ticks },
    yaxis: { ...AXIS, range, zeroline: true, zerolinecolor: "#999", title: { text: nameMeasure().split(" of ")[0], standoff: 4 } },
  };
  Plotly.react(plot, traces, layout, CONFIG);
  find(`curves-${i}-text`).replaceChildren(...describeCurves(region));
  markLayer(region, i);
}

const nameMeasure = () => MEASURES[state.measure] ?? (state.measure === "pearson" ? "r" : state.measure);

function describeCurves(region) {
  const { n_participants: n, ceilings } = getBrain().regions[region];
  const fits = listShown().map((name) => [name, getFit(name, region)]);
  const kind = fits.map(([, fit]) => chooseInterval(fit)).find((k) => k);
  const peaks = fits.map(([name, fit]) => [name, fit, findBest(fit)]).filter(([, , best]) => best >= 0);
  peaks.sort((a, b) => b[1].r[b[2]] - a[1].r[a[2]]);
  const lines = [n ? `${n} participants.` : "One group average of the participants."];
  lines.push(kind ? `Bands: 95% intervals ${INTERVALS[kind]}.` : "No intervals.");
  if (peaks.length) {
    const [name, fit, best] = peaks[0];
    lines.push(`Highest of the models shown: ${name}, ${getBrain().models[name].layers[best]}, ${format(fit.r[best])}.`);
  }
  lines.push(...describeHeldOut(region));
  const shown = listCeilings(region).map((row) =>
    `${row.kind} ${format(row.r)}${row.low == null ? "" : ` (band: ${format(row.low)} to ${format(row.high)})`}`);
  lines.push(shown.length ? `Noise ceilings: ${shown.join("; ")}.` : `No noise ceiling shown${explainMissing(ceilings)}.`);
  return [lines.join(" ") + " ", makeProvenanceButton(`Noise ceilings of ${region}`, () => listCeilingSources(region))];
}

// The best of the layers that were chosen on other stimuli than they are judged by.
function describeHeldOut(region) {
  const all = listShown().map((name) => [name, getHeldOut(name, region)]).filter(([, held]) => held);
  if (!all.length) return [];
  const known = all.filter(([, held]) => held.r != null).sort((a, b) => b[1].r - a[1].r);
  if (!known.length) return ["Diamonds: the layers that were chosen on other stimuli."];
  const [name, { layer, r, low, high }] = known[0];
  const interval = low == null ? "" : `, 95% interval over participants and stimuli ${format(low)} to ${format(high)}`;
  return [`Diamonds: layers chosen on other stimuli, judged on those held out; highest: ${name}, ${getBrain().models[name].layers[layer]}, ${format(r)}${interval}.`];
}

function explainMissing(ceilings) {
  if (state.measure === "versa_r") return ": that of RSA is of another RSM";
  if (state.measure in MEASURES) {
    return ceilings.some((row) => row.comparator === state.measure) ? "" : ": what was measured once has none";
  }
  if (ceilings.every((row) => row.r == null)) return `: ${ceilings[0]?.note || "there is none"}`;
  return state.measure === "pearson" ? "" : ": they are Pearson correlations";
}

// Show which layer is chosen: a ring in every region's plot, and the value of the slider that the plot is by keyboard.
function markLayer(region, i) {
  const plot = find(`curves-${i}`);
  const frame = plot.parentElement;
  const fit = state.models.has(state.model) ? getFit(state.model, region) : null;
  const { layers } = getBrain().models[state.model] ?? { layers: [] };
  const r = fit?.r[state.layer];
  const ring = frame.querySelector(".ring");
  ring.hidden = r == null;
  if (r != null) {
    const depth = getDepth(state.layer, layers.length);
    ring.style.left = `${plot.scales.toX(depth)}px`;
    ring.style.top = `${plot.scales.toY(r)}px`;
    ring.className = depth > 0.5 ? "ring left" : "ring";
    ring.firstChild.textContent = region === state.region ? `${state.model}, ${layers[state.layer]}: ${format(r)}` : "";
  }
  frame.setAttribute("aria-label", `Layer curves, ${region}`);
  frame.setAttribute("aria-valuemin", 0);
  frame.setAttribute("aria-valuemax", Math.max(0, layers.length - 1));
  frame.setAttribute("aria-valuenow", state.layer);
  frame.setAttribute("aria-valuetext", fit ? describeLayer(region) : "no model is shown");
}

function describeLayer(region) {
  const { layers, n_units: units } = getBrain().models[state.model];
  const fit = getFit(state.model, region);
  const { layer } = state;
  const place = `${state.model}, ${layers[layer]} (layer ${layer + 1} of ${layers.length}, ${units[layer]} units)`;
  if (!fit) return place;
  const p = fit.p?.[layer] == null ? "" : `, p ${formatP(fit.p[layer])}, q ${formatP(fit.q[layer])}`;
  const note = fit.note[layer] ? ` (${fit.note[layer]})` : "";
  return `${place}, ${region}: ${nameMeasure()} = ${format(fit.r[layer])}${describeInterval(fit, layer)}${p}${note}`;
}
