// The page of the shop: a list of films that may be stale, an order that waits for its payment
// page, and the switches of the upstreams.

import { autoRetry, staleNotice } from './auto-retry.js';

const POLL_MS = 1000;

const $ = id => document.getElementById(id);

/** Makes an element. Text is never parsed as HTML. */
function element (name, content, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...[content].flat());
  return made;
}

function post (path, body) {
  return fetch(path, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body)
  });
}

const money = amount => `Rp ${amount.toLocaleString('id-ID')}`;

async function loadFilms () {
  $('notice').replaceChildren();
  const response = await autoRetry(() => fetch('api/films'), { container: '#notice' });
  const { films, stale, ageMs } = await response.json();
  if (stale) staleNotice('#notice', ageMs);
  $('films').replaceChildren(...films.map(({ id, title, price }) => element('li', [
    element('span', `${title}, ${money(price)}`),
    element('button', 'Buy', { type: 'button', onclick: () => buy(id) })
  ])));
}

/** A queued order is safe: the page asks until it can be paid. */
async function buy (film) {
  $('order').replaceChildren(element('p', 'Asking for your payment page …'));
  const began = performance.now();
  const response = await post('api/orders', { film });
  const ms = Math.round(performance.now() - began);
  if (!response.ok) {
    $('order').replaceChildren(element('p', 'The order was not accepted. Please try again.'));
    return;
  }
  const { queued, orderId, redirectUrl } = await response.json();
  if (!queued) return ready(orderId, redirectUrl, `Answered in ${ms} ms.`);
  $('order').replaceChildren(
    element('p',
      `Order ${orderId} is safe: it was queued in ${ms} ms, because Midtrans is down.`),
    element('div', [], { id: 'progress' }));
  const made = await autoRetry(() => fetch(`api/orders/${encodeURIComponent(orderId)}`),
    { container: '#progress', tries: 20, interval: 2000 });
  ready(orderId, (await made.json()).redirectUrl,
    'The payment page was made as soon as Midtrans was back.');
}

function ready (orderId, redirectUrl, text) {
  $('order').replaceChildren(
    element('p', `Order ${orderId} can be paid. ${text}`),
    element('p', element('a', 'Pay', { href: redirectUrl, rel: 'noopener', target: '_blank' })));
}

function row ({ name, label, isWell, breaker }) {
  const button = element('button', isWell ? 'Break' : 'Mend', {
    type: 'button', onclick: () => change(name, isWell)
  });
  button.setAttribute('aria-label', `${isWell ? 'Break' : 'Mend'} ${name}`);
  return element('tr', [
    element('td', name),
    element('td', label, { className: isWell ? 'good' : 'bad' }),
    element('td', breaker, { className: breaker === 'closed' ? 'good' : 'bad' }),
    element('td', button)
  ]);
}

async function change (name, broken) {
  const response = await post(`api/upstreams/${name}`, { broken });
  if (response.ok) show(await response.json());
}

let shown = '';

function show (state) {
  const { upstreams, orders, work, level, token } = state;
  // Rows are replaced only if they change, and the focus stays on its button.
  const next = JSON.stringify(upstreams);
  if (next !== shown) {
    const focused = document.activeElement?.getAttribute('aria-label')?.split(' ')[1];
    $('upstreams').replaceChildren(...upstreams.map(row));
    shown = next;
    if (focused) document.querySelector(`button[aria-label$=" ${focused}"]`)?.focus();
  }
  $('counts').textContent = `Level ${level}. Orders: ${orders.in} in, ${orders.atOnce} at once, ` +
    `${orders.later} made later, ${orders.waiting} waiting. E-mails: ${work.emails.sent} sent, ` +
    `${work.emails.waiting} waiting. Messages: ${work.messages.sent} sent, ` +
    `${work.messages.waiting} waiting.`;
  $('dashboard').onclick = () => sessionStorage.setItem('sekering-token', token);
}

async function poll () {
  try {
    const response = await fetch('api/state');
    if (response.ok) show(await response.json());
  } finally {
    setTimeout(poll, POLL_MS);
  }
}

$('reload').onclick = loadFilms;
loadFilms();
poll();
