// Tables, and where their numbers come from.

function makeTable(caption, headings, rows) {
  return make("table", {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...headings.map((heading) => make("th", { scope: "col" }, heading)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, i) =>
      i ? make("td", {}, cell) : make("th", { scope: "row" }, cell))))),
  );
}

// The text alternative of the curves.
function listCurves() {
  const regions = listRegions();
  const rows = listShown().flatMap((name) => {
    const { layers, participation_ratio: ratios, power_law_exponent: exponents } = getBrain().models[name];
    return layers.map((layer, i) => [
      name,
      layer,
      ...regions.map((region) => {
        const fit = getFit(name, region);
        const interval = getInterval(fit, i);
        return format(fit?.r[i]) + (interval ? ` (${format(interval.low)} to ${format(interval.high)})` : "");
      }),
      format(ratios[i], 1),
      format(exponents[i], 2),
    ]);
  });
  const kinds = regions.map((region) => {
    const kind = listShown().map((name) => chooseInterval(getFit(name, region))).find((k) => k);
    return `${region}, ${nameMeasure()}` + (kind ? ` (95% interval ${INTERVALS[kind]})` : "");
  });
  find("curves-table").querySelector("div").replaceChildren(
    makeTable(`${getBrain().title}: ${nameMeasure()} of every layer that is shown`,
      ["model", "layer", ...kinds, "participation ratio", "power-law exponent"], rows));
}

// Rows of Table 1, with the chosen measure of encoding, and what is held out.
function listTableRows() {
  const { regions, rows } = getBrain().table;
  return rows.map((row) => {
    const more = regions.map((region) => {
      const held = getHeldOut(row.model, region);
      const fit = getFit(row.model, region);
      const name = (i) => getBrain().models[row.model].layers[i];
      const best = findBest(fit);
      return {
        [`${region}_best`]: fit?.r[best], [`${region}_best_layer`]: best < 0 ? null : name(best),
        [`${region}_held_out`]: held?.r, [`${region}_held_out_layer`]: held && name(held.layer),
      };
    });
    return Object.assign({}, row, ...more);
  });
}

// Table 1: [heading, digits or null for text, key of a row]
function listColumns() {
  const { regions } = getBrain().table;
  const rows = listTableRows();
  const has = (name) => rows.some((row) => row[name] != null);
  const columns = [
    ["model", null, "model"],
    ["framework", null, "framework"],
    ["network", null, "network"],
    ["dim", 0, "dim"],
    ["origin", null, "origin"],
    ["top-1 (%)", 1, "top1"],
    ["top-1, paper", 1, "top1_published"],
    ["top-1, difference", 1, "top1_difference"],
    ["by", null, "top1_protocol"],
    ["n", 0, "n_test"],
  ];
  for (const region of regions) {
    if (state.measure in MEASURES) {
      columns.push([region, 3, `${region}_best`], [`layer ${region}`, null, `${region}_best_layer`]);
      columns.push([`${region}, held out`, 3, `${region}_held_out`], [`layer ${region}, held out`, null, `${region}_held_out_layer`]);
      continue;
    }
    columns.push([`r ${region}`, 3, `${region}_r`], [`r ${region}, paper`, 2, `${region}_r_published`]);
    columns.push([`r ${region}, difference`, 3, `${region}_r_difference`], [`layer ${region}`, null, `${region}_layer`]);
    if (state.measure === "pearson") columns.push([`r ${region}, held out`, 3, `${region}_held_out`]);
  }
  return columns.filter(([, , key]) => has(key));
}

function drawTable() {
  const columns = listColumns();
  const { column, descending } = state.sort;
  const rows = listTableRows();
  if (column in columns) {
    const key = columns[column][2];
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
    rows.sort((a, b) => {
      if (a[key] == null || b[key] == null) return (a[key] == null) - (b[key] == null);
      return (descending ? -1 : 1) * compare(a[key], b[key]);
    });
  }
  const head = columns.map(([heading], i) =>
    make("th", { scope: "col", "aria-sort": i === column ? (descending ? "descending" : "ascending") : null },
      make("button", { type: "button", click: () => sortBy(i) }, heading,
        make("span", { "aria-hidden": "true" }, i === column ? (descending ? " \u25bc" : " \u25b2") : ""))),
  );
  const body = rows.map((row) => {
    const cells = columns.map(([, digits, key], i) => {
      const value = row[key];
      const text = value == null ? "\u2013" : digits == null ? value : format(value, digits);
      return make(i ? "td" : "th", { scope: i ? null : "row", class: digits == null ? null : "number" }, text);
    });
    const source = row.origin === "unavailable" ? [`unavailable: ${row.reason}`]
      : [makeProvenanceButton(row.model, () => listModelSources(row.model)), make("span", { class: "paper" }, nameWeights(row.model))];
    return make("tr", {}, cells[0], make("td", {}, ...source), ...cells.slice(1));
  });
  const ceilings = listRegions().map((region) => {
    const row = getBrain().regions[region].ceilings.find(({ kind }) => kind === "split-half over participants");
    return `${region} ${row?.r == null ? "none" : format(row.r, 2)}`;
  });
  find("table-of").hidden = state.measure in MEASURES; // of these the caption says it
  const buttons = () => [...find("table").querySelectorAll("thead button")];
  const focused = buttons().indexOf(document.activeElement);
  find("table").querySelector(".scroll").replaceChildren(
    make("table", { class: "sortable" },
      make("caption", {}, `${getBrain().title}. ${describeTable(ceilings)}`),
      make("thead", {}, make("tr", {}, head[0], make("th", { scope: "col" }, "provenance"), ...head.slice(1))),
      make("tbody", {}, ...body)),
  );
  buttons()[focused]?.focus();
}

function describeTable(ceilings) {
  if (state.measure in MEASURES) {
    return `${nameMeasure()}: the highest of a model's layers; held out: of the layer that was chosen on training stimuli, on the others.`;
  }
  return `Noise ceilings, split-half over participants: ${ceilings.join(", ")}.`;
}

function sortBy(column) {
  const { sort } = state;
  state.sort = { column, descending: sort.column === column ? !sort.descending : listColumns()[column][1] != null };
  drawTable();
}

// Provenance ------------------------------------------------------------------------------------------------------------

function makeProvenanceButton(name, list) {
  return make("button", { type: "button", class: "small", "aria-label": `Provenance: ${name}`, click: () => showProvenance(name, list()) }, "provenance");
}

// What stands on paper in place of the button.
function nameWeights(model) {
  const record = study.records[`models/${model}/weights.safetensors`];
  return record ? `weights ${record.sha256.slice(0, 12)}, commit ${(record.commit ?? "unknown").slice(0, 12)}` : "no record";
}

function listModelSources(model) {
  const files = [`rsa/${state.brain}/${model}.csv`, `statistics/${state.brain}/${model}.csv`];
  const { dataset } = study.models[model];
  if (dataset !== null) files.push(`accuracy/${dataset}/${model}.csv`);
  return { model, files: [...files, ...listEncodingSources(model)] };
}

function listLayerSources() {
  const files = [`statistics/${state.brain}/${state.model}.csv`, `rsm/${state.brain}/${state.model}.h5`];
  return { model: state.model, files: [...files, ...listEncodingSources(state.model)] };
}

function listEncodingSources(model) {
  if (!getBrain().encoding) return [];
  const folder = `encoding/${state.brain}`;
  return [`${folder}/${model}.csv`, `${folder}/best_layers.csv`, `statistics/${state.brain}/best_layers.csv`];
}

function listCeilingSources() {
  const { encoding } = getBrain();
  return { files: [`statistics/${state.brain}/noise_ceilings.csv`, ...(encoding ? [encoding.ceilings] : [])] };
}

// JSON with lists of numbers and words on one line.
function formatJson(value) {
  return JSON.stringify(value, null, 1).replace(/\[[^[\]{}]*\]/g, (list) => list.replace(/\n\s*/g, " ").replace(/^\[ | \]$/g, (end) => end.trim()));
}

function showProvenance(name, { model, files }) {
  const dialog = find("provenance");
  find("provenance-heading").textContent = `Where the numbers come from: ${name}`;
  const weights = model && study.records[`models/${model}/weights.safetensors`];
  const parts = [];
  if (model) {
    parts.push(make("dl", {},
      make("dt", {}, "Weights"), make("dd", {}, weights ? `SHA-256 ${weights.sha256}` : "no record says how they were made"),
      make("dt", {}, "Commit that made them"), make("dd", {}, weights?.commit ?? "unknown"),
      make("dt", {}, "Configuration"), make("dd", {}, make("pre", {}, formatJson(study.models[model].config)))));
  }
  parts.push(make("p", {}, "Each file, the job that made it, and below it what that job read:"));
  const seen = new Set();
  parts.push(make("ul", { class: "chain" }, ...files.map((file) => makeLink(file, null, seen))));
  dialog.querySelector("div").replaceChildren(...parts);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

// One link of the chain with all below it; what was shown before is only named.
function makeLink(file, sha256, seen) {
  const record = study.records[file];
  const parts = [make("code", {}, file)];
  if (record && sha256 && record.sha256 !== sha256) parts.push(`: made anew since; what was read had SHA-256 ${sha256}; now`);
  if (!record) {
    parts.push(sha256 ? `: SHA-256 ${sha256}` : ": no record says how it was made");
  } else if (seen.has(file)) {
    parts.push(": see above");
  } else {
    seen.add(file);
    const { rule, commit, time, seconds, hardware, versions, params } = record;
    const where = `${hardware.host}, ${hardware.processor}, GPU ${hardware.gpu ?? "none"}`;
    parts.push(`: SHA-256 ${record.sha256}; rule ${rule}, commit ${commit ?? "unknown"}, ${time}, ${seconds} s, ${where}`);
    parts.push(make("details", {}, make("summary", {}, "parameters and versions"), make("pre", {}, formatJson({ params, versions }))));
    const inputs = Object.entries(record.inputs);
    if (inputs.length) parts.push(make("ul", {}, ...inputs.map(([input, hash]) => makeLink(input, hash, seen))));
  }
  return make("li", {}, ...parts);
}
