// The RSM of the chosen layer beside the brain's, and the two stimuli of a cell.

// viridis, in nine steps
const COLORMAP = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"].map((hex) =>
  [0, 2, 4].map((start) => parseInt(hex.slice(start, start + 2), 16)),
);
const UNDEFINED_COLOR = [190, 190, 190];

function mapColor(byte) {
  if (byte === 255) return UNDEFINED_COLOR;
  const place = (byte / 254) * (COLORMAP.length - 1);
  const low = Math.min(COLORMAP.length - 2, Math.floor(place));
  return COLORMAP[low].map((value, i) => Math.round(value + (place - low) * (COLORMAP[low + 1][i] - value)));
}

function makeMatrices() {
  const place = find("matrices");
  place.replaceChildren(
    ...["model", "brain"].map((side) => {
      const canvas = make("canvas", { id: `${side}-rsm`, "aria-hidden": "true" });
      const cursor = make("div", { class: "cursor" });
      const frame = make(
        "div",
        { class: "frame matrix", id: `${side}-frame`, role: "application", tabindex: 0, "aria-roledescription": "matrix",
          "aria-describedby": "cell", keydown: moveCell, pointermove: pointAtCell, pointerdown: pointAtCell },
        canvas,
        cursor,
      );
      const scale = make("p", { class: "scale" });
      return make("figure", {}, make("h3", { id: `${side}-title` }), frame, scale);
    }),
  );
}

function getMatrices() {
  const { rsms, layers } = getBrain().models[state.model];
  const region = getBrain().regions[state.region];
  return {
    model: { stored: rsms[state.layer], title: `${state.model}, ${layers[state.layer]}` },
    brain: { stored: region.rsm, title: `${state.region}, ${region.n_participants ? "mean of the participants" : "group average"}` },
  };
}

function drawMatrices() {
  const n = getBrain().stimuli.length;
  for (const [side, { stored, title }] of Object.entries(getMatrices())) {
    const { bytes } = readRsm(stored);
    const canvas = find(`${side}-rsm`);
    canvas.width = canvas.height = n;
    const context = canvas.getContext("2d");
    const image = context.createImageData(n, n);
    image.data.fill(255);
    const colors = Array.from({ length: 256 }, (_, byte) => mapColor(byte));
    for (let row = 1; row < n; row++) {
      for (let column = 0; column < row; column++) {
        const color = colors[bytes[findPair(row, column)]];
        image.data.set(color, 4 * (row * n + column));
        image.data.set(color, 4 * (column * n + row));
      }
    }
    context.putImageData(image, 0, 0);
    find(`${side}-title`).textContent = title;
    const frame = find(`${side}-frame`);
    frame.setAttribute("aria-label", `RSM of ${title}, ${n} by ${n} stimuli`);
    const scale = frame.parentElement.querySelector(".scale");
    scale.replaceChildren(format(stored.low, 2), make("span", { class: "bar", role: "img", "aria-label": "to" }), format(stored.high, 2));
  }
  showCell();
  if (find("pairs-table").open) listPairs();
}

function pointAtCell(event) {
  const box = event.currentTarget.querySelector("canvas").getBoundingClientRect();
  const n = getBrain().stimuli.length;
  const place = (at, start, length) => Math.min(n - 1, Math.max(0, Math.floor(((at - start) / length) * n)));
  choosePair(place(event.clientY, box.top, box.height), place(event.clientX, box.left, box.width));
}

function moveCell(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  const n = getBrain().stimuli.length;
  choosePair(...state.pair.map((value, i) => Math.min(n - 1, Math.max(0, value + step[i]))));
}

function choosePair(row, column) {
  if (state.pair[0] === row && state.pair[1] === column) return;
  state.pair = [row, column];
  showCell();
}

function showCell() {
  const { stimuli } = getBrain();
  const [row, column] = state.pair;
  for (const side of ["model", "brain"]) {
    const cursor = find(`${side}-frame`).querySelector(".cursor");
    const percent = (value) => `${(100 * value) / stimuli.length}%`;
    Object.assign(cursor.style, { top: percent(row), left: percent(column), width: percent(1), height: percent(1) });
  }
  const names = state.pair.map((i) => stimuli[i].name);
  const values = Object.values(getMatrices()).map(({ stored, title }) => {
    const { get, error } = readRsm(stored);
    const r = row === column ? null : get(row, column);
    return r == null ? `${title}: not defined` : `${title}: r = ${format(r)} (\u00b1 ${error.toFixed(4)}, quantised)`;
  });
  const text = row === column ? `${names[0]}: one stimulus with itself.` : `${names[0]} and ${names[1]}. ${values.join("; ")}.`;
  find("cell").textContent = text;
  find("pair").replaceChildren(
    ...state.pair.map((i) =>
      make("figure", {}, make("img", { src: stimuli[i].picture, alt: `Stimulus ${stimuli[i].name}` }),
        make("figcaption", {}, `${i + 1}: ${stimuli[i].name}`)),
    ),
  );
}

// The text alternative of the two matrices: the pairs at both ends.
function listPairs() {
  const { stimuli } = getBrain();
  const tables = Object.values(getMatrices()).map(({ stored, title }) => {
    const { get } = readRsm(stored);
    const pairs = [];
    for (let row = 1; row < stimuli.length; row++) {
      for (let column = 0; column < row; column++) {
        const r = get(row, column);
        if (r != null) pairs.push([stimuli[row].name, stimuli[column].name, format(r)]);
      }
    }
    const value = (pair) => Number(pair[2].replace("\u2212", "-"));
    pairs.sort((a, b) => value(b) - value(a));
    return makeTable(`${title}: the ten most similar and the ten least similar pairs`, ["stimulus", "stimulus", "r"],
      pairs.length > 20 ? [...pairs.slice(0, 10), ...pairs.slice(-10)] : pairs);
  });
  find("pairs-table").querySelector("div").replaceChildren(...tables);
}
