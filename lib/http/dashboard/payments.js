// Payments and their history. Held notifications can be reviewed.

import { html, useState } from './vendor/preact.js';

import {
  Ago, Badge, Block, Choice, Dialog, Entry, Find, List, Notes, Problem, Reason, Section, Text, When,
  useList, usePoll,
} from './ui.js';

const LIST_MS = 10_000;
const STRAYS_MAX = 200;

const TONES = {
  queued: 'warn', created: 'info', unknown: 'warn', pending: 'info', authorize: 'info',
  paid: 'good', denied: 'bad', cancelled: 'info', expired: 'info', failed: 'bad',
  partially_refunded: 'warn', refunded: 'warn', partially_charged_back: 'bad', charged_back: 'bad',
};
const OUTCOMES = {
  applied: 'good', already_processed: 'info', stale: 'info', held: 'warn', forged: 'bad',
  invalid: 'bad', unavailable: 'warn', dismissed: 'info', unknown_order: 'info', released: 'info',
};
// Why notifications are held.
const REASONS = {
  amount: 'the amount differs from the order',
  currency: 'the currency differs from the order',
  unknown_order: 'the order is not recorded here',
  not_found: 'Midtrans does not know the transaction',
  contradicted: 'Midtrans reports another status',
  edge: 'not a valid transition',
  paid_twice: 'the order was paid twice',
};
const words = state => state.replaceAll('_', ' ');

/** Formats an amount in minor units. */
export function amountOf (amountMinor, currency) {
  const digits = String(amountMinor).padStart(3, '0');
  const whole = BigInt(digits.slice(0, -2)).toLocaleString('en-US');
  const parts = digits.slice(-2);
  return `${currency} ${whole}${parts === '00' ? '' : `.${parts}`}`;
}

const EVENT_WORDS = {
  stored: ['info', 'stored'], failed: ['warn', 'attempt failed'], sent: ['good', 'sent'],
  dead: ['bad', 'given up'], cancelled: ['info', 'cancelled'],
  'delivery delivered': ['good', 'delivered'], 'delivery read': ['good', 'read'],
  'delivery failed': ['bad', 'not delivered'],
};

// Each kind of entry: its mark, and what it says.
const ENTRIES = {
  payment: ({ from, to, by }) => html`<${Badge} tone=${TONES[to] ?? 'info'}>${words(to)}<//>
    <span>${from && html`<span class="quiet">from ${words(from)}</span>`}
    <span class="quiet"> by <${Text}>${by}<//></span></span>`,
  webhook: ({ transactionStatus, outcome, reason, source, times }) => html`<${Badge}
    tone=${OUTCOMES[outcome] ?? 'info'}>${words(outcome)}<//><span>${source === 'status'
      ? 'Midtrans was asked' : 'Midtrans told'}: <${Text}>${transactionStatus ?? '–'}<//>
    ${reason && html`, <${Text}>${REASONS[reason] ?? reason}<//>`}${times > 1
      ? html` <span class="quiet">${times} times</span>` : ''}</span>`,
  message: ({ id, channel, recipient, event, attempt, code, text }) => {
    const [tone, word] = EVENT_WORDS[event] ?? ['info', event.replace('delivery ', '')];
    return html`<${Badge} tone=${tone}>${word}<//><span>
      <span class="quiet">${channel} ${id} to</span> <${Text}>${recipient}<//>
      ${attempt ? ` (attempt ${attempt})` : ''}
      ${code && html` <b><${Text}>${code}<//></b>`}
      ${text && html` <span class="quiet"><${Text}>${text}<//></span>`}
    </span>`;
  },
  note: ({ by, text }) => html`<${Badge}>note<//><span class="note-text"><b><${Text}>${by}<//></b>
    ${' '}<${Text}>${text}<//></span>`,
};

/** All that happened to an order, oldest first. */
const Timeline = ({ entries }) => html`<ol class="log timeline" aria-label="Timeline">${
  entries.map((entry, i) => html`<li key=${i} class=${entry.kind}><${Ago} at=${entry.at} />
    <span class="quiet kind">${entry.kind}</span> ${ENTRIES[entry.kind]?.(entry)}</li>`)}</ol>`;

const Notice = ({ event }) => html`<${Entry} more="Body" details=${() => html`<${Block}
  label="Body of the notification">${event.body}<//>`}><${Ago} at=${event.receivedAt} />
    <${Badge} tone=${OUTCOMES[event.outcome] ?? 'info'}>${words(event.outcome)}<//>
    <span class="grow"><${Text}>${event.transactionStatus ?? '–'}<//>
      ${event.reason && html` <span class="quiet"><${Text}>${
        REASONS[event.reason] ?? event.reason}<//></span>`}</span><//>`;

const DECISIONS = {
  apply: ['Apply', 'Apply the notification', 'The order gets the status of the notification.'],
  dismiss: ['Dismiss', 'Dismiss the notification', 'The order stays as it is.'],
};

function Review ({ api, orderId, decision, onDone, onClose }) {
  const [submit, title, text] = DECISIONS[decision];
  return html`<${Dialog} title=${title} submit=${submit} onClose=${onClose}
    tone=${decision === 'apply' ? 'primary' : 'danger'} onSubmit=${async form => {
      await api.post(`payments/${encodeURIComponent(orderId)}/review`,
        { decision, reason: form.get('reason') });
      onDone();
    }}>
    <p><${Text}>${orderId}<//>: ${text}</p>
    <${Reason} />
  <//>`;
}

function Details ({ api, orderId, turn, mayOperate }) {
  const path = `payments/${encodeURIComponent(orderId)}`;
  const { data, error } = usePoll(async signal => {
    const [order, { events }, { entries }] = await Promise.all(
      [path, `${path}/events`, `${path}/timeline`].map(part => api.get(part, {}, signal)));
    return { order, events, entries };
  }, LIST_MS, [api, path, turn]);
  return html`<div class="details">
    <${Problem} error=${error} what="Could not load the order" />
    ${data && html`
      <dl class="pairs">
        <div><dt>Transaction</dt><dd><${Text}>${data.order.transactionId ?? '–'}<//></dd></div>
        <div><dt>Created</dt><dd><${Ago} at=${data.order.createdAt} /></dd></div>
        <div><dt>Payment page</dt><dd>${data.order.hasToken ? 'created' : 'not yet'}</dd></div>
      </dl>
      <h4>Timeline</h4><${Timeline} entries=${data.entries} />
      <div class="card-foot"><${Notes} api=${api} about="order" target=${orderId}
        mayOperate=${mayOperate} path=${`${path}/note`} /></div>
      <h4>Notifications as they came</h4>
      ${data.events.length === 0 ? html`<p class="quiet">None yet.</p>`
        : html`<${Notices} events=${data.events} />`}`}
  </div>`;
}

const Notices = ({ events }) => html`<ul class="rows inner">${events.map(event => html`<${Notice}
  key=${event.id} event=${event} />`)}</ul>`;

/** Buttons that decide about a held notification. */
function Decide ({ orderId, api, onDone }) {
  const [decision, setDecision] = useState(undefined);
  return html`${Object.entries(DECISIONS).map(([name, [word]]) => html`<button key=${name}
      class="small" onClick=${() => setDecision(name)} aria-label=${`${word} ${orderId}`}>
      ${word} …</button>`)}
    ${decision && html`<${Review} api=${api} orderId=${orderId} decision=${decision}
      onClose=${() => setDecision(undefined)} onDone=${onDone} />`}`;
}

/** Held notifications of orders that are not in the store, and so in no list of orders. */
function Strays ({ api, turn, mayOperate, onDone }) {
  const { data, error, reload } = usePoll(signal =>
    api.get('payment-events', { outcome: 'held', limit: STRAYS_MAX }, signal), LIST_MS,
  [api, turn]);
  const strays = new Map();
  for (const event of data?.events ?? []) {
    if (!event.isOurs) strays.set(event.orderId, [...strays.get(event.orderId) ?? [], event]);
  }
  if (strays.size === 0) {
    return html`<${Problem} error=${error} what="Could not load the held notifications" />`;
  }
  const done = orderId => {
    onDone(orderId);
    reload();
  };
  return html`<div class="strays" data-part="strays"><h3>Held notifications of unknown orders</h3>
    <p class="quiet">Midtrans knows these orders, but they are not recorded here. Apply records what
      Midtrans reports now.</p>
    <ul class="rows">${[...strays].map(([orderId, events]) => html`<li key=${orderId}
      class="letter held" data-stray=${orderId}><div class="row"><${Badge} tone="warn">held<//>
      <span class="grow"><b><${Text}>${orderId}<//></b></span>
      ${mayOperate && html`<${Decide} orderId=${orderId} api=${api}
        onDone=${() => done(orderId)} />`}</div>
      <${Notices} events=${events} /></li>`)}</ul></div>`;
}

function Order ({ order, api, turn, mayOperate, onDone }) {
  const { orderId, state, amountMinor, currency, held, updatedAt } = order;
  return html`<${Entry} class="letter ${held ? 'held' : ''}" data-order=${orderId}
    more="History" label=${`History of ${orderId}`}
    details=${() => html`<${Details} api=${api} orderId=${orderId} turn=${turn}
      mayOperate=${mayOperate} />`}
    after=${held && mayOperate && html`<${Decide} orderId=${orderId} api=${api}
      onDone=${() => onDone(orderId)} />`}>
    <${Badge} tone=${TONES[state] ?? 'info'}>${words(state)}<//>
    ${held && html`<${Badge} tone="warn">held<//>`}
    <span class="grow"><b><${Text}>${orderId}<//></b></span>
    <span class="amount">${amountOf(amountMinor, currency)}</span>
    <span class="quiet"><${Ago} at=${updatedAt} /></span><//>`;
}

export function Payments ({ api, turns, mayOperate, notify }) {
  const list = useList(api, 'payments', 'payments', turns.payments);
  const isHeld = list.filter.held === 'true';
  const done = orderId => {
    notify(`Order ${orderId} was reviewed`);
    list.reload();
  };
  return html`<${Section} id="payments" title="Payments">
    <div class="filters" role="search" aria-label="Payments">
      <button class="chip" aria-pressed=${String(isHeld)} onClick=${() =>
        list.set({ held: isHeld ? undefined : 'true' })}>Held only</button>
      <${Choice} list=${list} name="state" label="State" values=${Object.keys(TONES)}
        wordOf=${words} /><${When} list=${list} /><${Find} list=${list} />
    </div>
    <${Strays} api=${api} turn=${turns.payments} mayOperate=${mayOperate} onDone=${done} />
    <${List} list=${list} what="the payments" empty="No payments."
      row=${order => html`<${Order} key=${order.orderId} order=${order} api=${api}
        turn=${turns.payments} mayOperate=${mayOperate} onDone=${done} />`} />
  <//>`;
}
