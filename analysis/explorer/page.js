(id, panel, data) => {
  const root = document.getElementById(id);
  root.innerHTML = panel; // not before: where no script runs, no control is dead
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const [sample, model, method, layer, head, prompt, opacity] = [
    "sample", "model", "method", "layer", "head", "prompt", "opacity",
  ].map(part);
  const [frame, words] = [part("frame"), part("words")];
  const cell = { row: 0, col: 0 };
  let token = ""; // the word that is looked at, if one is
  const values = new Map(); // decoded once they are looked at

  const look = () => data.looks[sample.value][model.value];
  const byWord = () => method.value === "words";
  const byLayer = () => method.value === "layer" || byWord();

  // The place of the chosen word among this prompt's; the last one where it has none.
  const place = () => {
    const checked = words.querySelector("input:checked");
    if (checked) return Number(checked.value);
    const { tokens } = look();
    return tokens.includes(token) ? tokens.indexOf(token) : tokens.length - 1;
  };

  // What is chosen: a picture, and the line and column of its tile.
  const chosen = () => {
    const said = look();
    if (!byLayer()) {
      const column = said.methods.indexOf(method.value);
      return { said, picture: said.pictures.methods, line: 0, column };
    }
    const line = Number(layer.value);
    if (byWord()) return { said, picture: said.pictures.words, line, column: place() };
    const picture = said.pictures[prompt.value];
    return { said, picture, line, column: Number(head.value) };
  };

  const decoded = (picture) => {
    if (!values.has(picture)) {
      const bytes = Uint8Array.from(atob(picture.values), (c) => c.charCodeAt(0));
      values.set(picture, new DataView(bytes.buffer));
    }
    return values.get(picture);
  };

  // Not every browser has Float16Array yet; no value is negative or infinite.
  const float16 = (bits) => {
    const [exponent, fraction] = [bits >> 10, (bits & 1023) / 1024];
    return exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
  };

  const valueAt = ({ picture, line, column }, row, col) => {
    const tile = line * picture.columns + column;
    const number = (tile * picture.rows + row) * picture.cols + col;
    const share = float16(decoded(picture).getUint16(2 * number, true)) / data.scale;
    return share * picture.peaks[line][column];
  };

  const peakAt = ({ picture, line, column }) => {
    const place = picture.places[line][column];
    return { row: Math.floor(place / picture.cols), col: place % picture.cols };
  };

  const text = (value) => String(Number(value.toPrecision(3)));

  // A box in shares of the image -> the place of an element over it.
  const put = (element, box) => {
    element.hidden = !box;
    if (!box) return;
    const [left, top, right, bottom] = box;
    element.style.left = `${100 * left}%`;
    element.style.top = `${100 * top}%`;
    element.style.width = `${100 * (right - left)}%`;
    element.style.height = `${100 * (bottom - top)}%`;
  };

  const inShares = (box) => {
    const [width, height] = data.samples[sample.value].size;
    return box && box.map((edge, n) => edge / (n % 2 ? height : width));
  };

  const cellBox = ({ picture }) => {
    const [left, top, right, bottom] = picture.region;
    const across = (right - left) / picture.cols;
    const down = (bottom - top) / picture.rows;
    const x = left + cell.col * across;
    const y = top + cell.row * down;
    return inShares([x, y, x + across, y + down]);
  };

  const drawMap = (now) => {
    const map = part("map");
    const { picture, line, column } = now;
    const share = (place, count) => (count > 1 ? (100 * place) / (count - 1) : 0);
    put(map, inShares(picture.region));
    map.style.backgroundImage = `url("${picture.png}")`;
    map.style.backgroundSize = `${100 * picture.columns}% ${100 * picture.lines}%`;
    map.style.backgroundPosition =
      `${share(column, picture.columns)}% ${share(line, picture.lines)}%`;
    map.style.opacity = opacity.value / 100;
    const crop = part("show-crop").checked && picture.crops[line][column];
    put(part("crop"), inShares(crop));
    const truth = part("show-truth").checked && data.samples[sample.value].truth;
    put(part("truth"), inShares(truth));
  };

  // Numbers only, so nothing has to be escaped.
  const drawCurve = (now) => {
    const { picture, line, column } = now;
    const curve = part("curve");
    const ratios = byLayer() && picture.ratios && picture.ratios.map((l) => l[column]);
    part("curve-box").hidden = !ratios;
    if (!ratios) return;
    const top = Math.max(1.2, ...ratios.map((ratio) => ratio ?? 0)) * 1.05;
    const last = Math.max(1, ratios.length - 1);
    const x = (n) => (40 + (270 * n) / last).toFixed(1);
    const y = (ratio) => (140 - (125 * ratio) / top).toFixed(1);
    const known = ratios.map((r, n) => [r, n]).filter(([r]) => r !== null);
    const points = known.map(([r, n]) => `${x(n)},${y(r)}`).join(" ");
    const dots = known.map(([r, n]) =>
      `<circle cx="${x(n)}" cy="${y(r)}" r="${n === line ? 5 : 3}"` +
      `${n === line ? ' class="chosen"' : ""}/>`);
    const every = Math.ceil(ratios.length / 8);
    const names = now.said.layers.map((number, n) => n % every ? "" :
      `<text x="${x(n)}" y="155" text-anchor="middle">${number}</text>`);
    const ticks = [1, top / 1.05].map((r) =>
      `<text x="34" y="${y(r)}" text-anchor="end" dy="4">${text(r)}</text>`);
    curve.innerHTML = [
      `<line x1="40" x2="310" y1="140" y2="140"/><line x1="40" x2="40" y1="15" y2="140"/>`,
      `<line class="even" x1="40" x2="310" y1="${y(1)}" y2="${y(1)}"/>`,
      `<line class="mark" x1="${x(line)}" x2="${x(line)}" y1="15" y2="140"/>`,
      `<polyline points="${points}"/>`, ...dots, ...names, ...ticks,
      `<text x="175" y="170" text-anchor="middle">layer</text>`,
    ].join("");
    const spoken = ratios.map((r, n) =>
      `layer ${now.said.layers[n]}: ${r === null ? "none" : text(r)}`);
    curve.setAttribute("aria-label", `Attention ratio by layer. ${spoken.join("; ")}.`);
  };

  const layerName = (now, line) => {
    const number = now.said.layers[line];
    return `layer ${number}${number === now.said.layer ? " (the map's layer)" : ""}`;
  };

  const mapName = (now) => {
    if (!byLayer()) return `${method.value} map`;
    const where = layerName(now, now.line);
    if (byWord()) return `${where}, word ${now.column}, “${now.said.tokens[now.column]}”`;
    const heads = now.column ? `head ${now.column - 1}` : "mean over heads";
    return `${where}, ${heads}, ${prompt.value}`;
  };

  const say = (now) => {
    const peak = peakAt(now);
    const ratio = now.picture.ratios?.[now.line][now.column] ?? null;
    part("status").textContent =
      `Row ${cell.row}, column ${cell.col}: ${text(valueAt(now, cell.row, cell.col))}. ` +
      `${model.value}, ${mapName(now)}. ` +
      `Peak ${text(now.picture.peaks[now.line][now.column])} at row ${peak.row}, ` +
      `column ${peak.col}.` +
      (ratio === null ? "" : ` Attention ratio ${text(ratio)}.`);
  };

  const tell = (now) => {
    const { question, labels } = data.samples[sample.value];
    const crop = now.picture.crops[now.line][now.column];
    const answer = now.said.crops[method.value];
    part("question").textContent =
      `Question: “${question}”` + (labels.length ? ` Right: “${labels[0]}”.` : "");
    part("answers").textContent = `Without a crop: “${now.said.plain}”.` +
      (answer === undefined ? "" : ` With this map's crop: “${answer}”.`);
    part("where").textContent = crop === null ? "This map points nowhere." :
      `This map's crop: left ${crop[0]}, top ${crop[1]}, right ${crop[2]}, ` +
      `bottom ${crop[3]} (pixels).`;
  };

  const show = () => {
    const now = chosen();
    cell.row = Math.min(cell.row, now.picture.rows - 1);
    cell.col = Math.min(cell.col, now.picture.cols - 1);
    const name = layerName(now, Number(layer.value));
    layer.setAttribute("aria-valuetext", name);
    part("layer-name").textContent = name.replace("layer ", "");
    drawMap(now);
    drawCurve(now);
    put(part("cell"), cellBox(now));
    tell(now);
    say(now);
  };

  const moveTo = (row, col) => {
    const now = chosen();
    cell.row = Math.max(0, Math.min(row, now.picture.rows - 1));
    cell.col = Math.max(0, Math.min(col, now.picture.cols - 1));
    put(part("cell"), cellBox(now));
    say(now);
  };

  const moves = {
    ArrowUp: () => moveTo(cell.row - 1, cell.col),
    ArrowDown: () => moveTo(cell.row + 1, cell.col),
    ArrowLeft: () => moveTo(cell.row, cell.col - 1),
    ArrowRight: () => moveTo(cell.row, cell.col + 1),
    Home: () => moveTo(cell.row, 0),
    End: () => moveTo(cell.row, Infinity),
    PageUp: () => moveTo(0, cell.col),
    PageDown: () => moveTo(Infinity, cell.col),
    Enter: () => {
      const peak = peakAt(chosen());
      moveTo(peak.row, peak.col);
    },
  };

  const onKey = (event) => {
    if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    moves[event.key]();
  };

  const onPointer = (event) => {
    const { picture } = chosen();
    const [left, top, right, bottom] = inShares(picture.region);
    const place = frame.getBoundingClientRect();
    const x = ((event.clientX - place.left) / place.width - left) / (right - left);
    const y = ((event.clientY - place.top) / place.height - top) / (bottom - top);
    if (x < 0 || y < 0 || x >= 1 || y >= 1) return; // beside the map
    const [row, col] = [Math.floor(y * picture.rows), Math.floor(x * picture.cols)];
    if (row !== cell.row || col !== cell.col) moveTo(row, col);
  };

  // Another model has other layers and heads: begin at its map's layer, all heads.
  const onModel = () => {
    const { layers, layer: own, pictures } = look();
    layer.max = layers.length - 1;
    layer.value = layers.indexOf(own);
    const names = ["mean", ...Array(pictures.ratio.columns - 1).keys()];
    head.replaceChildren(...names.map((name, n) => new Option(name, n)));
    part("tokens").replaceChildren(...look().tokens.map(choice));
    onMethod();
  };

  const choice = (text, n) => {
    const [label, input] = ["label", "input"].map((tag) => document.createElement(tag));
    Object.assign(input, { type: "radio", name: `${id}-word`, value: n, id: `${id}-${n}` });
    input.dataset.part = "word";
    label.htmlFor = input.id;
    label.append(input, text);
    return label;
  };

  const onWord = () => {
    method.value = "words";
    token = look().tokens[place()];
    onMethod();
  };

  const onSample = () => {
    const { image, size, alt } = data.samples[sample.value];
    part("image").src = image;
    part("image").alt = alt;
    [part("image").width, part("image").height] = size;
    onModel();
  };

  const onMethod = () => {
    layer.disabled = !byLayer();
    for (const control of [head, prompt]) control.disabled = byWord() || !byLayer();
    const chosen = byWord() && place();
    words.querySelectorAll("input").forEach((one, n) => { one.checked = n === chosen; });
    show();
  };

  sample.addEventListener("change", onSample);
  model.addEventListener("change", onModel);
  method.addEventListener("change", onMethod);
  words.addEventListener("change", onWord);
  for (const name of ["layer", "head", "prompt", "opacity", "show-crop", "show-truth"]) {
    part(name).addEventListener("input", show);
  }
  frame.addEventListener("keydown", onKey);
  frame.addEventListener("pointermove", onPointer);
  frame.addEventListener("pointerdown", onPointer);
  onSample();
}
