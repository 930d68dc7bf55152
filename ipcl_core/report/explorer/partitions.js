// What models explain alone, share, and explain together: a table a region, with bars.

const PARTS = { voxels: "voxels", rsm: "RSM" };

function drawPartitions() {
  const rows = getBrain().encoding?.partitions ?? [];
  const sets = [...new Set(rows.map((row) => row.models))];
  find("partitions").hidden = !sets.length;
  if (!sets.includes(state.partition)) state.partition = sets[0] ?? "";
  fillSelect("partition", sets.map((name) => [name, name]), state.partition, change("partition"));
  const chosen = rows.filter((row) => row.models === state.partition);
  const tables = listRegions().flatMap((region) => Object.keys(PARTS).map((measure) => [region, measure]));
  find("parts").replaceChildren(...tables.map(([region, measure]) => makeParts(region, measure, chosen)));
}

// Bars of one measure have one scale, whatever the region.
function makeParts(region, measure, chosen) {
  const all = chosen.filter((row) => row.measure === measure);
  const values = all.flatMap((row) => [row.r2, row.low, row.high]).filter((value) => value != null);
  const [low, high] = [Math.min(0, ...values), Math.max(0.001, ...values)];
  const own = all.filter((row) => row.region === region);
  const whole = own.find((row) => row.explained === "together" && row.by.split(" + ").length === row.models.split(", ").length);
  const rows = [...own.filter((row) => row.explained === "alone"), ...(whole ? [whole] : [])].map((row) => {
    const interval = row.low == null ? "" : ` (${format(row.low)} to ${format(row.high)})`;
    const text = `${format(row.r2)}${interval}${row.significant ? " *" : ""}`;
    return [namePart(row), makeBar(row, low, high), make("span", { title: row.note }, text), row.q == null ? "" : formatP(row.q)];
  });
  return makeTable(`${region}, ${PARTS[measure]}`, ["explained by", "bar", "R2 (95% interval)", "q"], rows);
}

function namePart({ explained, by }) {
  if (explained === "together") return "all together";
  return by.includes(" + ") ? `${by}, shared` : `${by} alone`;
}

function makeBar(row, low, high) {
  const place = (value) => (100 * (value - low)) / (high - low);
  const put = (name, from, to) => {
    const part = make("span", { class: name });
    Object.assign(part.style, { left: `${Math.min(place(from), place(to))}%`, width: `${Math.abs(place(to) - place(from))}%` });
    return part;
  };
  const bar = make("div", { class: "part", "aria-hidden": "true" }, put(row.explained, 0, row.r2), put("zero", 0, 0));
  if (row.low != null) bar.append(put("limits", row.low, row.high));
  return bar;
}
