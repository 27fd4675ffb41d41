'use strict';

/* global document, getComputedStyle, innerWidth */

// Functions that run in a page of the dashboard.

/** Whether the chart of the error rate has a line. Runs in the page. */
function isDrawn () {
  const canvas = document.querySelector('[data-breaker] canvas');
  if (!(canvas?.width > 0)) return false;
  const copy = Object.assign(document.createElement('canvas'),
    { width: canvas.width, height: canvas.height }).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let red = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i] > data[i + 1] + 60 && data[i + 3] > 0) red++;
  return red > 20;
}

/**
 * Whether each chart has times below it: texts of the colour of labels, right of the other axis.
 * Runs in the page.
 */
function timesAreDrawn () {
  const label = getComputedStyle(document.documentElement).getPropertyValue('--quiet')
    .match(/[\da-f]{2}/gi).map(part => parseInt(part, 16));
  const [left, high] = [48, 16];
  return [...document.querySelectorAll('.chart canvas')].every(canvas => {
    const [width, top] = [canvas.width - left, canvas.height - high];
    if (!(width > 0 && top > 0)) return false;
    const copy = Object.assign(document.createElement('canvas'), { width, height: high })
      .getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, -left, -top);
    const { data } = copy.getImageData(0, 0, width, high);
    let drawn = 0;
    for (let i = 0; i < data.length; i += 4) {
      const isLabel = label.every((part, n) => Math.abs(data[i + n] - part) < 24);
      if (isLabel && data[i + 3] > 100) drawn++;
    }
    return drawn > 20;
  });
}

/**
 * What is wider than its place: the page, or the row of tabs, which scrolls, so that the page does
 * not get wider. Runs in the page.
 */
function tooWide () {
  const parts = { page: [document.documentElement.scrollWidth, innerWidth] };
  const nav = document.querySelector('nav');
  if (nav !== null) parts.tabs = [nav.scrollWidth, nav.clientWidth];
  return Object.entries(parts).filter(([, [width, room]]) => width > room)
    .map(([name, [width, room]]) => `${name}: ${width} px in ${room} px`);
}

/** Texts whose contrast with what is behind them is below 4.5 : 1. Runs in the page. */
function faintTexts () {
  const read = text => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let e = element; e !== null; e = e.parentElement) {
      const colour = read(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const words = [...document.querySelectorAll('body *')].filter(element =>
    element.checkVisibility() && [...element.childNodes].some(node =>
      node.nodeType === 3 && node.textContent.trim() !== ''));
  return words.filter(element => {
    if (Number(getComputedStyle(element).opacity) < 1) return !element.disabled;
    const [a, b] = [light(read(getComputedStyle(element).color)), light(ground(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  }).map(element => `${element.textContent.trim()} (${getComputedStyle(element).color})`);
}

module.exports = { faintTexts, isDrawn, timesAreDrawn, tooWide };
