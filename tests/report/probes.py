"""JavaScript that asks a page what Playwright has no method for."""

from __future__ import annotations

PLOTS = """() => [...document.querySelectorAll('figure.plot')].map(figure => {
    const drawn = figure.querySelector('.js-plotly-plot');
    const numbers = values => Array.from(values ?? []).filter(value => typeof value === 'number');
    const traces = (drawn?.data ?? []).map(trace => ({
        name: trace.name ?? '',
        points: Math.max(trace.x?.length ?? 0, trace.y?.length ?? 0),
        numbers: [...numbers(trace.x), ...numbers(trace.y)],
    }));
    return {
        id: figure.id,
        traces,
        width: drawn?.getBoundingClientRect().width ?? 0,
        height: drawn?.getBoundingClientRect().height ?? 0,
        caption: figure.querySelector('figcaption')?.textContent.trim() ?? '',
        cells: [...figure.querySelectorAll('tbody [data-value]')].map(cell => Number(cell.dataset.value)),
    };
})"""
"""Every plot with what is drawn in it, and the numbers in the table beside it."""

TOOLBARS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => ({
    buttons: [...plot.querySelectorAll('.modebar-btn')].map(button => button.dataset.title),
    links: [...plot.querySelectorAll('a[href]')].map(link => link.getAttribute('href')),
    server: plot._context.plotlyServerURL,
}))"""
"""Of every plot: the names of the buttons in its toolbar, the links in it, and the server that it would send to."""

SMALL_TEXT = """least => {
    const small = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.textContent.trim() || !element.checkVisibility() || element.closest('script, style')) continue;
        const size = parseFloat(getComputedStyle(element).fontSize);
        if (size < least - 0.01) small.add(`${size} px: ${element.tagName} ${node.textContent.trim().slice(0, 40)}`);
    }
    return [...small];
}"""
"""Visible texts of less than so many pixels, those of plots included."""

FAINT_TEXT = """least => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const parsed = text => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
        return {rgb: [red, green, blue], alpha: alpha / 255};
    };
    const over = (top, bottom) => top.rgb.map((value, nth) => value * top.alpha + bottom[nth] * (1 - top.alpha));
    const background = element => {
        const layers = [];
        for (let ancestor = element; ancestor; ancestor = ancestor.parentElement) {
            const layer = parsed(getComputedStyle(ancestor).backgroundColor);
            layers.push(layer);
            if (layer.alpha === 1) break;
        }
        const dark = matchMedia('(prefers-color-scheme: dark)').matches;
        return layers.reverse().reduce((below, layer) => over(layer, below), dark ? [18, 18, 18] : [255, 255, 255]);
    };
    const luminance = rgb => {
        const [red, green, blue] = rgb.map(value => value / 255).map(
            value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const faint = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.textContent.trim() || !element.checkVisibility() || element.closest('script, style')) continue;
        const style = getComputedStyle(element), behind = background(element);
        const ink = parsed(element instanceof SVGElement ? style.fill : style.color);
        const [high, low] = [luminance(over(ink, behind)), luminance(behind)].sort((first, second) => second - first);
        const contrast = (high + 0.05) / (low + 0.05);
        const shown = node.textContent.trim().slice(0, 40);
        if (contrast < least) faint.add(`${contrast.toFixed(2)}: ${element.tagName} ${shown}`);
    }
    return [...faint];
}"""
"""Visible texts with less contrast to what is behind them [WCAG 2.2, 1.4.3]."""

HEADINGS = """() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(
    heading => [Number(heading.tagName[1]), heading.textContent.trim()])"""

CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])"

NAMELESS = """controls => [...document.querySelectorAll(controls)].filter(control => {
    const others = (control.getAttribute('aria-labelledby') ?? '').split(/\\s+/).map(id => document.getElementById(id));
    const texts = [control.getAttribute('aria-label'), ...others.map(label => label?.textContent)];
    if (control.matches('select, input, textarea')) texts.push(...[...control.labels].map(label => label.textContent));
    else texts.push(control.textContent, control.getAttribute('title'));
    return !texts.some(text => text?.trim());
}).map(control => control.outerHTML.slice(0, 120))"""
"""Controls that a screen reader has no name for."""

FOCUSABLE = """controls => {
    window.reached = [];
    document.activeElement.blur();
    document.addEventListener('focusin', event => window.reached.push(Number(event.target.dataset.nth ?? -1)));
    const shown = control => control.checkVisibility() && !control.disabled;
    const found = [...document.querySelectorAll(controls)].filter(shown);
    return found.map((control, nth) => {
        control.dataset.nth = nth;
        return nth;
    });
}"""
"""Number all controls that the keyboard should reach, and note which get the focus from now on, in ``reached``."""

OVERFLOW = """() => {
    const page = document.scrollingElement;
    if (page.scrollWidth <= innerWidth) return [];
    const scrolls = element => element && (['auto', 'scroll', 'hidden', 'clip'].includes(
        getComputedStyle(element).overflowX) || scrolls(element.parentElement));
    return [`${page.scrollWidth} px in a window of ${innerWidth}`, ...[...document.body.querySelectorAll('*')].filter(
        element => element.getBoundingClientRect().right > innerWidth + 1 && !scrolls(element.parentElement)
    ).slice(0, 5).map(element => element.outerHTML.slice(0, 120))];
}"""
"""What makes the page wider than its window."""

COLOURS = """() => ({
    page: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
    plots: [...document.querySelectorAll('.js-plotly-plot')].map(
        plot => getComputedStyle(plot.querySelector('.xtitle, text')).fill),
})"""

CUT_OFF = """() => [...document.querySelectorAll('table')].filter(table => {
    const box = table.parentElement;
    return table.checkVisibility() && box.scrollHeight > box.clientHeight + 1;
}).map(table => table.caption?.textContent ?? table.outerHTML.slice(0, 80))"""
"""Tables that show only some of their rows."""
