// Accuracy against fit: a point a model.

function getAccuracy(model) {
  const rows = study.models[model].accuracies;
  return state.protocol ? rows.find((row) => row.protocol === state.protocol) : rows.find((row) => row.headline);
}

function drawScatters() {
  const place = find("scatters");
  if (place.dataset.brain !== state.brain) {
    place.querySelectorAll(".plot").forEach((plot) => Plotly.purge(plot));
    place.replaceChildren(...listRegions().map(makeScatter));
    place.dataset.brain = state.brain;
  }
  listRegions().forEach(drawScatter);
}

function makeScatter(region, i) {
  const plot = make("div", { class: "plot", id: `scatter-${i}`, "aria-hidden": "true" });
  const frame = make("div", { class: "frame", role: "slider", tabindex: 0, "aria-label": `Accuracy against fit, ${region}` }, plot);
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choosePoint(i, Math.min(plot.points.length - 1, Math.max(0, plot.chosen + step)));
  });
  for (const type of ["pointermove", "pointerdown"]) {
    frame.addEventListener(type, (event) => {
      const nearest = findNearest(event, plot.points.map(({ x, y }, number) => [x, y, { number }]));
      if (nearest && nearest.number !== plot.chosen) choosePoint(i, nearest.number);
    });
  }
  return make("figure", {}, make("h3", {}, region), frame, make("figcaption", { role: "status", id: `scatter-${i}-text` }));
}

function drawScatter(region, i) {
  const plot = find(`scatter-${i}`);
  const points = listAvailable().flatMap((name) => {
    const fit = getFit(name, region);
    const best = findBest(fit);
    const accuracy = getAccuracy(name);
    return best < 0 || !accuracy ? [] : [{ name, fit, best, accuracy, x: accuracy.top1, y: fit.r[best] }];
  });
  points.sort((a, b) => a.x - b.x);
  const limits = points.map(({ fit, best }) => getInterval(fit, best));
  const size = { width: plot.parentElement.clientWidth, height: 340 };
  const values = [...points.map((point) => point.y), ...limits.flatMap((l) => (l ? [l.low, l.high] : []))];
  const yRange = findRange([...values, ...listCeilings(region).flatMap((row) => [row.r, row.low, row.high])]);
  const xs = points.map((point) => point.x);
  const pad = 0.08 * (Math.max(...xs) - Math.min(...xs)) || 1;
  const xRange = xs.length ? [Math.min(...xs) - pad, Math.max(...xs) + pad] : [0, 100];
  const margin = { l: 52, r: 12, t: 8, b: 44 };
  const scales = makeScales(size, margin, xRange, yRange);
  const { shapes, annotations, taken } = placeCeilings(region, size, margin, scales);
  const trace = {
    x: xs,
    y: points.map((point) => point.y),
    mode: "markers",
    marker: { color: points.map((point) => getLine(point.name).color), size: 9, line: { color: "#fff", width: 1 } },
    error_y: {
      type: "data", color: "#bbb", thickness: 1, width: 0,
      array: points.map((point, k) => (limits[k] ? limits[k].high - point.y : 0)),
      arrayminus: points.map((point, k) => (limits[k] ? point.y - limits[k].low : 0)),
    },
  };
  const layout = {
    ...size, margin, font: FONT, showlegend: false,
    shapes,
    annotations: [...annotations, ...placeNames(points, taken, size, margin, scales)],
    xaxis: { ...AXIS, range: xRange, title: { text: "top-1 accuracy (%)", standoff: 6 } },
    yaxis: { ...AXIS, range: yRange, zeroline: true, zerolinecolor: "#999", title: { text: `best layer's ${nameMeasure()}`, standoff: 4 } },
  };
  Plotly.react(plot, [trace], layout, CONFIG);
  plot.points = points;
  plot.scales = scales;
  choosePoint(i, points.length - 1);
}

function describePoint({ name, fit, best, accuracy, x, y }) {
  const layer = getBrain().models[name].layers[best];
  return `${name}: top-1 ${format(x, 1)}% by ${accuracy.protocol}, ${nameMeasure()} = ${format(y)} at ${layer}${describeInterval(fit, best)}`;
}

function choosePoint(i, number) {
  const plot = find(`scatter-${i}`);
  plot.chosen = number;
  const point = plot.points[number];
  const text = point ? describePoint(point) : "No model has this accuracy";
  const button = point && makeProvenanceButton(point.name, () => listModelSources(point.name));
  find(`scatter-${i}-text`).replaceChildren(`${text}. `, ...(button ? [button] : []));
  const frame = plot.parentElement;
  frame.setAttribute("aria-valuemin", 0);
  frame.setAttribute("aria-valuemax", Math.max(0, plot.points.length - 1));
  frame.setAttribute("aria-valuenow", Math.max(0, number));
  frame.setAttribute("aria-valuetext", text);
}

// Names beside their points, where one of eight places is free of points, other names, ceilings and the ceilings' names.
function placeNames(points, taken, size, margin, { toX, toY }) {
  taken = [...taken, ...points.map(({ x, y }) => [toX(x) - 5, toY(y) - 5, toX(x) + 5, toY(y) + 5])];
  const names = [];
  for (const point of points) {
    const [x, y] = [toX(point.x), toY(point.y)];
    const width = 6.2 * point.name.length + 4;
    const places = [[7, -7], [-width - 7, -7], [-width / 2, -21], [-width / 2, 7], [7, -20], [7, 6], [-width - 7, -20], [-width - 7, 6]];
    const free = places
      .map(([dx, dy]) => [x + dx, y + dy, x + dx + width, y + dy + 14])
      .find(
        (box) =>
          box[0] >= margin.l && box[2] <= size.width && box[1] >= 0 && box[3] <= size.height - margin.b && isFree(box, taken),
      );
    if (!free) continue;
    taken.push(free);
    names.push({
      x: point.x, y: point.y, xshift: free[0] - x, yshift: y - (free[1] + free[3]) / 2, xanchor: "left", yanchor: "middle",
      text: escapeText(point.name), showarrow: false, font: { ...FONT, size: 11 }, borderpad: 0, bgcolor: "rgba(255,255,255,.75)",
    });
  }
  return names;
}
