// Draws the plots of the page from the figures in it, sorts its tables, and shows one load test at a time.
"use strict";

// After Okabe and Ito, whose colours all kinds of colour vision tell apart; shapes tell points apart as well.
const ON_WHITE = ["#0072B2", "#D55E00", "#009E73", "#A8467F", "#1F8FC4", "#B37400", "#6E6E6E"];
const ON_BLACK = ["#56B4E9", "#FF8A4C", "#17C495", "#E59AC6", "#F0E442", "#E69F00", "#B0B0B0"];
const SHAPES = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "x"];
const RECOMMENDED = "recommended";
// No button of a plot's toolbar opens a page or sends the chart anywhere; without a URL nothing could.
const LOCAL_ONLY = {
  responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "", modeBarButtonsToRemove: ["sendChartToCloud"],
};
const PANEL_PX = 170;
const NARROW_PX = 700;
// What spans more is drawn on a logarithmic axis.
const WIDE_SPAN = 30;

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const plots = read("plots");
const timelines = read("timelines");
const dark = matchMedia("(prefers-color-scheme: dark)");
const printing = matchMedia("print");
const colour = (nth) => (dark.matches && !printing.matches ? ON_BLACK : ON_WHITE)[nth % ON_WHITE.length];
const looks = new Map(plots.colours.map((name, nth) => [name, nth % ON_WHITE.length]));

// Plotly takes some HTML in its texts; what comes from a job is text.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function colourOf(series) {
  const named = { line: style("--quiet"), quiet: style("--quiet"), best: style("--text"), main: colour(0) }[series.colour];
  return named || colour(looks.get(series.colour) ?? 0);
}

function traceOf(series, plot) {
  const own = colourOf(series);
  const trace = {
    name: plain(series.name), x: series.x, y: series.y.map((value) => (typeof value === "string" ? plain(value) : value)),
    text: series.labels.map(plain), showlegend: plot.series.length > 1 || series.predicted,
    hovertemplate: (series.labels.length ? "%{text}<br>" : "") + "%{x:.4~g}, %{y:.4~g}<extra></extra>",
  };
  if (series.drawn_as === "bars") {
    // What was predicted is hatched.
    const pattern = series.predicted ? { pattern: { shape: "/", fillmode: "replace", fgcolor: colour(0) } } : {};
    return {
      ...trace, type: "bar", orientation: "h", marker: { color: plot.small ? series.y.map((name) => (name === RECOMMENDED ? colour(0) : colour(6))) : colour(0), ...pattern },
      textposition: plot.small ? "outside" : "none", cliponaxis: false, hovertemplate: "%{y}: %{x:.4~g}<br>%{text}<extra></extra>",
    };
  }
  if (series.predicted) {
    const line = { color: own, width: 2, dash: "dot" };
    return { ...trace, mode: "lines+markers", line, marker: { color: own, size: 7, symbol: "diamond-open", line: { width: 1.5 } } };
  }
  if (series.drawn_as !== "points") {
    const line = { color: own, width: 2, dash: "dot", shape: series.drawn_as === "steps" ? "hv" : "linear" };
    return { ...trace, mode: "lines", line, hoverinfo: "skip", hovertemplate: undefined };
  }
  const shape = series.symbol === "star" ? "star" : SHAPES[looks.get(series.colour) ?? 0];
  const marker = {
    color: own, size: series.symbol === "star" ? 18 : series.joined ? 7 : 11, symbol: series.symbol === "hollow" ? shape + "-open" : shape,
    line: { width: series.symbol === "filled" ? 1 : 2, color: series.symbol === "hollow" ? own : style("--back") },
  };
  const bars = series.low.length && {
    type: "data", symmetric: false, thickness: 1, width: 3, color: own,
    array: series.high.map((high, nth) => (high === null ? 0 : high - series.y[nth])),
    arrayminus: series.low.map((low, nth) => (low === null ? 0 : series.y[nth] - low)),
  };
  const joined = series.joined ? { mode: "lines+markers", line: { color: own, width: 2, shape: series.joined === "stairs" ? "vh" : "linear" } } : {};
  return { ...trace, mode: "markers", marker, ...joined, ...(bars ? { error_y: bars } : {}) };
}

// Short ticks: thousands by their letter, fractions written out.
const ticksOf = (values) => (Math.max(...values.map(Math.abs)) >= 10000 ? "~s" : "~g");

// 1, 2 and 5 of every power of ten on a logarithmic axis, or the powers alone where there are many.
function logTicks(low, high) {
  const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, nth) => 10 ** (Math.floor(low) + nth));
  const within = (ticks) => ticks.filter((tick) => tick >= 10 ** low && tick <= 10 ** high);
  const fine = within(powers.flatMap((power) => [power, 2 * power, 5 * power]));
  return fine.length > 7 ? within(powers) : fine;
}

// An axis around all that is to be seen, the lines to compare with included.
// A horizontal axis makes room above and below alone: for a number at its end it would move the plot, and lose the number.
function axis(described, values, more, across) {
  const numbers = values.filter((value) => typeof value === "number" && (!described.log || value > 0));
  const scale = described.log ? Math.log10 : Number;
  const [low, high] = numbers.length ? [Math.min(...numbers), Math.max(...numbers)].map(scale) : [0, 1];
  const room = (high - low) * 0.07 || (described.log ? 0.1 : Math.abs(high) / 2 || 0.5);
  const ticks = described.log ? logTicks(low - room, high + room) : [];
  return {
    title: { text: plain(described.title), standoff: 8, font: { size: 13 } }, automargin: across ? "height" : "width", gridcolor: style("--grid"),
    linecolor: style("--line"), zerolinecolor: style("--line"), tickfont: { size: 12 }, nticks: 8,
    ...(numbers.length ? { type: described.log ? "log" : "linear", range: [low - room, high + room], tickformat: ticksOf(numbers) } : {}),
    ...(described.log && ticks.length > 1 ? { tickvals: ticks } : {}),
    ...(described.whole ? { tick0: 0, dtick: Math.max(1, Math.ceil((high - low) / 8)) } : {}), ...more,
  };
}

function frame(more) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 10, r: 16, t: 10, b: 10 }, height: 420,
    font: { family: "system-ui, sans-serif", size: 13, color: style("--text") }, hovermode: "closest",
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
    hoverlabel: { bgcolor: style("--raised"), bordercolor: style("--line"), font: { color: style("--text") } }, ...more,
  };
}

const seen = (plot, name) => [
  ...plot.series.flatMap((series) => (name === "y" ? [...series.y, ...series.low, ...series.high] : series.x)),
  ...plot.guides.filter((guide) => guide.along === name).map((guide) => guide.at),
];

function guidesOf(plot) {
  return plot.guides.map((guide) => {
    if (guide.along === "diagonal") {
      const both = [...seen(plot, "x"), ...seen(plot, "y")].filter((value) => value > 0);
      const [low, high] = [Math.min(...both), Math.max(...both)];
      return { type: "line", x0: low, y0: low, x1: high, y1: high, line: { color: style("--quiet"), width: 1.5, dash: "dash" } };
    }
    const across = guide.along === "x" ? { x0: guide.at, x1: guide.at, yref: "paper", y0: 0, y1: 1 } : { y0: guide.at, y1: guide.at, xref: "paper", x0: 0, x1: 1 };
    return { type: "line", ...across, line: { color: inkOf(guide), width: 1.5, dash: guide.kind === "limit" ? "dash" : "solid" } };
  });
}

const inkOf = (guide) => style(guide.kind === "limit" ? "--bad" : "--text");

const bandsOf = (plot) => plot.bands.map((band) => ({
  type: "rect", x0: band.low, x1: band.high, yref: "paper", y0: 0, y1: 1, layer: "below", line: { width: 0 }, fillcolor: style("--good"), opacity: 0.12,
}));

const bandLabelsOf = (plot) => plot.bands.map((band) => ({
  x: plot.x.log ? Math.log10(band.low * band.high) / 2 : (band.low + band.high) / 2, yref: "paper", y: 0.7, yanchor: "middle",
  text: plain(band.label), showarrow: false, font: { size: 12, color: style("--good") },
}));

// Labels of several vertical lines are under each other, below that of the limit.
const LABEL_PX = 18;
const upright = (plot) => plot.guides.filter((guide) => guide.along === "x");

function guideLabelsOf(plot) {
  return plot.guides.filter((guide) => guide.along !== "diagonal").map((guide) => {
    const at = (described) => (described.log ? Math.log10(guide.at) : guide.at);
    const [low, high] = [Math.min(...seen(plot, "x")), Math.max(...seen(plot, "x"))];
    // On the side where there is room.
    const left = plot.x.log ? guide.at > Math.sqrt(low * high) : guide.at > (low + high) / 2;
    const where = guide.along === "x"
      ? { x: at(plot.x), yref: "paper", y: 1, xanchor: left ? "right" : "left", yanchor: "top", yshift: plot.small ? -LABEL_PX * (2 + upright(plot).indexOf(guide)) : 0 }
      : { y: at(plot.y), xref: "paper", ...(plot.small ? { x: 0.5, xanchor: "center" } : { x: 1, xanchor: "right" }), yanchor: "bottom" };
    return { ...where, text: plain(guide.label), showarrow: false, font: { size: 12, color: inkOf(guide) } };
  });
}

function show(chart, traces, layout) {
  // Plotly fits a plot into its element whenever the window changes, so that has to have its height.
  chart.style.height = `${layout.height}px`;
  return Plotly.react(chart, traces, layout, LOCAL_ONLY);
}

function draw(plot) {
  const traces = plot.series.map((series) => traceOf(series, plot));
  const below = innerWidth < NARROW_PX && traces.length > 3;
  // A bar begins at nothing.
  const room = plot.small ? 1.45 : 1.05;
  const x = plot.horizontal ? axis(plot.x, seen(plot, "x"), { range: [0, room * Math.max(...seen(plot, "x"))] }, true) : axis(plot.x, seen(plot, "x"), {}, true);
  const height = plot.small ? 400 : 420;
  const layout = frame({
    height, barmode: "overlay", shapes: [...bandsOf(plot), ...guidesOf(plot)], annotations: [...bandLabelsOf(plot), ...guideLabelsOf(plot)], xaxis: x,
    yaxis: plot.horizontal ? axis(plot.y, [], { autorange: "reversed", nticks: undefined }) : axis(plot.y, seen(plot, "y")),
    ...(plot.horizontal ? { height: plot.small ? 70 + 26 * Math.max(2, new Set(plot.series.flatMap((series) => series.y)).size) : Math.max(150, 80 + 34 * plot.series[0].y.length) } : {}),
    ...(below ? { height: height + 22 * traces.length, legend: { orientation: "v", x: 0, y: -0.2, yanchor: "top", font: { size: 12 } } } : {}),
  });
  return show(document.querySelector(`#${plot.name} .chart`), traces, layout);
}

// What is over time: panels under each other with one axis of time.
const PANELS = [
  { title: "per s", columns: ["offered per s", "answered per s"] },
  { title: "users", columns: ["users"], steps: true },
  { title: "ms", columns: ["p50 ms", "p95 ms", "p99 ms", "overhead p50 ms"], limited: true },
  { title: "CPU %", columns: ["CPU %"] },
  { title: "memory MiB", columns: ["memory MiB"] },
  { title: "GPU %", columns: ["GPU %"] },
];
const ORDER = PANELS.flatMap((panel) => panel.columns);

function drawTimeline(one) {
  const columnOf = (name) => one.rows.map((row) => row[timelines.columns.indexOf(name)]);
  const known = (name) => columnOf(name).some((value) => value !== null);
  const panels = PANELS.map((panel) => ({ ...panel, columns: panel.columns.filter(known) })).filter((panel) => panel.columns.length);
  const [runs, seconds] = [columnOf("run"), columnOf("at s")];
  const traces = [], shapes = [], annotations = [];
  const layout = frame({
    height: 90 + PANEL_PX * panels.length, hovermode: "x unified", shapes, annotations,
    xaxis: axis({ title: "s" }, [], { anchor: panels.length > 1 ? `y${panels.length}` : "y" }, true),
    legend: { orientation: "h", x: 0, y: 1 + 48 / (PANEL_PX * panels.length), yanchor: "bottom", font: { size: 12 } },
  });
  panels.forEach((panel, nth) => {
    const name = nth ? `y${nth + 1}` : "y";
    const top = 1 - nth / panels.length;
    const limits = panel.limited ? timelines.limits_ms : [];
    const values = [...panel.columns.flatMap(columnOf).filter((value) => value > 0), ...limits.map((limit) => limit.ms)];
    const log = Math.max(...values) > WIDE_SPAN * Math.min(...values);
    layout[nth ? `yaxis${nth + 1}` : "yaxis"] = axis({ ...panel, log }, log ? values : [0, ...values], { domain: [top - 0.84 / panels.length, top], nticks: 5 });
    for (const limit of limits) {
      const line = { color: style("--bad"), width: 1.5, dash: "dash" };
      shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, yref: name, y0: limit.ms, y1: limit.ms, line });
      const at = { yref: name, y: log ? Math.log10(limit.ms) : limit.ms, yanchor: limit.ms > Math.min(...values) ? "top" : "bottom" };
      annotations.push({ ...at, xref: "paper", x: 1, xanchor: "right", text: plain(limit.label), showarrow: false, font: { size: 12, color: style("--bad") } });
    }
    for (const column of panel.columns) {
      const look = ORDER.indexOf(column);
      const x = [], y = [];
      columnOf(column).forEach((value, row) => {
        // From one run to the next there is no line.
        if (row && runs[row] !== runs[row - 1]) { x.push(null); y.push(null); }
        x.push(seconds[row]); y.push(log && value === 0 ? null : value);
      });
      traces.push({
        name: column, x, y, yaxis: name, xaxis: "x", mode: "lines+markers", showlegend: panel.columns.length > 1,
        marker: { size: 6, symbol: SHAPES[look % SHAPES.length] },
        line: { color: colour(look), width: 2, dash: ["solid", "dot", "dash", "dashdot"][panel.columns.indexOf(column)], shape: panel.steps ? "hv" : "linear" },
      });
    }
  });
  for (const [nth, run] of one.runs.entries()) {
    // On a narrow page neighbours would write over each other.
    annotations.push({ yshift: 14 * (nth % 2), x: run.at_s, xanchor: "left", yref: "paper", y: 1, yanchor: "bottom", text: plain(run.label), showarrow: false, font: { size: 12 } });
  }
  return show(document.querySelector("#timeline-plot .chart"), traces, layout);
}

// As quantities.py writes numbers: counts in full, what was measured in three digits.
const COUNTS = ["run", "users"];
const written = (value, column) => value.toLocaleString("en", COUNTS.includes(column) ? {} : { maximumSignificantDigits: 3 });

function cellOf(value, nth) {
  const cell = document.createElement("td");
  cell.className = "number";
  if (value !== null) cell.dataset.value = value;
  cell.textContent = value === null ? "-" : written(value, timelines.columns[nth]);
  return cell;
}

function fillTimelineTable(one) {
  const table = document.querySelector("#timeline-table table");
  table.caption.firstElementChild.textContent = one.table_title;
  table.tBodies[0].replaceChildren(...one.rows.map((row) => {
    const line = document.createElement("tr");
    line.append(...row.map(cellOf));
    return line;
  }));
  table.querySelectorAll("th").forEach((header) => header.removeAttribute("aria-sort"));
}

function sort(header) {
  const nth = header.cellIndex;
  const body = header.closest("table").tBodies[0];
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const keyOf = (row) => { const cell = row.cells[nth]; return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value); };
  const compare = (one, other) => {
    const [mine, theirs] = [keyOf(one), keyOf(other)];
    // What is not known comes last, whichever way.
    if (mine === "-" || theirs === "-") return (mine === "-") - (theirs === "-");
    return direction * (typeof mine === "number" && typeof theirs === "number" ? mine - theirs : String(mine).localeCompare(String(theirs), "en", { numeric: true }));
  };
  body.append(...[...body.rows].sort(compare));
  header.closest("tr").querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
}

document.addEventListener("click", (event) => {
  const header = event.target.closest("table.sortable th");
  if (header) sort(header);
  const copy = event.target.closest("button.copy");
  if (copy) {
    const code = document.getElementById(copy.dataset.copies);
    navigator.clipboard?.writeText(code.textContent).then(() => { copy.textContent = "Copied"; }, () => getSelection().selectAllChildren(code));
  }
});

const chooser = document.getElementById("timeline-step");
const shown = () => timelines.tests[Number(chooser.value)];
chooser?.addEventListener("change", () => { drawTimeline(shown()); fillTimelineTable(shown()); });

const drawings = [...plots.plots.map((plot) => () => draw(plot)), ...(chooser ? [() => drawTimeline(shown())] : [])];
const drawAll = () => drawings.forEach((drawing) => drawing());

// The first is there when the page is, the others follow while it can be read and scrolled already.
function drawFrom(nth) {
  if (nth < drawings.length) {
    drawings[nth]();
    setTimeout(drawFrom, 0, nth + 1);
  } else {
    document.documentElement.dataset.drawn = "yes";
  }
}

dark.addEventListener("change", drawAll);
printing.addEventListener("change", drawAll);
drawings[0]?.();
addEventListener("load", () => drawFrom(1));
