// The outbox and the dead letters, which can be retried or deleted.

import { html, useEffect, useRef, useState } from './vendor/preact.js';

import {
  Ago, Badge, Block, Choice, Dialog, Empty, Entry, Find, List, Notes, Problem, Reason, Section,
  Text, When, count, duration, useList, usePoll,
} from './ui.js';

const STATS_MS = 5000;
const LIST_MS = 10_000;
const wordOf = status => status === 'DLQ' ? 'dead' : status.toLowerCase();
const STATUSES = ['PENDING', 'SENDING', 'RETRYING', 'SENT', 'DLQ', 'CANCELLED'];
const TONES = {
  PENDING: 'info', SENDING: 'info', RETRYING: 'warn', SENT: 'good', DLQ: 'bad', CANCELLED: 'info',
};

function Outbox ({ stats: { data, error } }) {
  const channels = Object.entries(data?.channels ?? {});
  return html`<${Section} id="outbox" title="Outbox" kind="panel">
    <${Problem} error=${error} what="Could not load the outbox" />
    ${data && html`<p class="vital"><b>${count(data.waiting)}</b> waiting${data.oldestMs > 0
      ? html`, the oldest for <b>${duration(data.oldestMs)}</b>` : ''}</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Messages by channel and status">
      <table><thead><tr><th scope="col">Channel</th>${STATUSES.map(status => html`<th scope="col"
        key=${status} class="number">${wordOf(status)}</th>`)}</tr></thead>
      <tbody>${channels.map(([channel, statuses]) => html`<tr key=${channel}>
        <th scope="row"><${Text}>${channel}<//></th>${STATUSES.map(status => html`<td
          key=${status} class="number ${statuses[status] > 0 ? '' : 'none'}">${
          count(statuses[status] ?? 0)}</td>`)}</tr>`)}</tbody></table></div>
    ${data.sampled && html`<p class="quiet">${wordOf('SENT')}, ${wordOf('CANCELLED')} and counts of
      thousands are estimates, because there are many.</p>`}
    ${channels.length === 0 && html`<${Empty}>No messages.<//>`}`}
  <//>`;
}

const FATES = {
  accepted: 'info', sent: 'info', delivered: 'good', read: 'good', failed: 'bad',
};
const FATE_WORDS = { failed: 'not delivered' };
const TOLD = ['delivered', 'read', 'failed'];
const fateOf = status => FATE_WORDS[status] ?? status;

/** The last status that the provider reported for a message. */
const Fate = ({ delivery: { status, at, heardAt, errorCode, error } }) => html`<div>
  <dt>Delivery</dt><dd><${Badge} tone=${FATES[status] ?? 'info'}>${fateOf(status)}<//> <${Ago}
    at=${at ?? heardAt} />
    ${errorCode && html` <b><${Text}>${errorCode}<//></b>`}
    ${error && html` <${Text}>${error}<//>`}</dd></div>`;

/** The same in a word, once it is more than accepted or sent. */
const Told = ({ delivery }) => TOLD.includes(delivery?.status) && html`<${Badge}
  tone=${FATES[delivery.status]}>${fateOf(delivery.status)}<//>`;

/** How a message ended, or what comes next. */
function Outcome ({ message: { status, sentAt, diedAt, nextRetryAt, reason } }) {
  const [at, tone, word] = {
    SENT: [sentAt, 'good', 'sent'],
    DLQ: [diedAt, 'bad', `given up${reason ? `: ${reason}` : ''}`],
    CANCELLED: [undefined, 'info', 'cancelled'],
    SENDING: [undefined, 'info', 'being sent now'],
  }[status] ?? [nextRetryAt, 'info', 'next attempt'];
  return html`<li><span></span>${at ? html`<${Ago} at=${at} />` : html`<span></span>`}
    <span><${Badge} tone=${tone}><${Text}>${word}<//><//></span></li>`;
}

/**
 * Every attempt that failed and is still kept, and how the message ended. A message that was
 * retried as a dead letter has those of before, too.
 */
function Attempts ({ message }) {
  const errors = message.errorHistory ?? [];
  const omitted = errors.at(-1)?.omitted ?? 0;
  const failed = errors.length + omitted;
  const shown = omitted > 0 ? `; the last ${errors.length} are shown` : '';
  return html`${failed > message.attemptCount && html`<p class="quiet">${
    `${count(failed)} attempts failed in all${shown}.`}</p>`}
    <ol class="log attempts" aria-label="Attempts">${
      errors.map(({ attempt, at, name, code, message: text }, i) => html`<li
        key=${i}><span>${attempt}.</span> <${Ago} at=${at} /> <span><b><${Text}>${
        code ?? name}<//></b>${' '}<${Text}>${text}<//></span></li>`)}
      <${Outcome} message=${message} /></ol>`;
}

// What could load, run, send or lead anywhere; the policy of the frame forbids it as well.
const UNWANTED = 'script, link, meta, base, iframe, frame, object, embed, form, input, ' +
  'button, select, textarea, audio, video, source, track, svg, math, template, portal';
const ADDRESSES = ['src', 'srcset', 'href', 'background', 'poster', 'data', 'action', 'ping'];
const PREVIEW_MAX = 480;

/** Puts a mail into the page of a frame, without scripts, and without anything from elsewhere. */
function fill (frame, source) {
  const { contentDocument: page } = frame;
  const draft = page.implementation.createHTMLDocument('');
  draft.documentElement.innerHTML = source;
  for (const element of draft.querySelectorAll(UNWANTED)) element.remove();
  for (const element of draft.querySelectorAll('*')) {
    const leadsTo = element.getAttribute('href');
    if (leadsTo !== null) element.setAttribute('title', `leads to ${leadsTo}`);
    const isInline = element.getAttribute('src')?.startsWith('data:image/');
    for (const name of ADDRESSES) {
      if (name !== 'src' || !isInline) element.removeAttribute(name);
    }
    for (const { name } of [...element.attributes]) {
      if (name.startsWith('on')) element.removeAttribute(name);
    }
    if (element.localName === 'img' && !isInline) {
      element.replaceWith(`[picture${element.alt ? `: ${element.alt}` : ''}]`);
    }
  }
  page.head.append(...draft.querySelectorAll('head style'));
  page.body.replaceChildren(...draft.body.childNodes);
  page.body.style.cssText = draft.body.style.cssText;
  frame.style.height = `${Math.min(page.documentElement.scrollHeight + 4, PREVIEW_MAX)}px`;
}

/** A mail as its reader sees it, but without pictures from elsewhere. */
function Preview ({ source }) {
  const frame = useRef();
  return html`<h4>Preview, without scripts, links and remote pictures</h4>
    <iframe class="preview" ref=${frame} sandbox="allow-same-origin" src="preview.html"
      title="Preview of the mail" onLoad=${() => fill(frame.current, source)}></iframe>`;
}

function CancelDialog ({ api, id, onDone, onClose }) {
  return html`<${Dialog} title=${`Cancel message ${id}`} submit="Cancel it" tone="danger"
    onClose=${onClose} onSubmit=${async form => {
      await api.post(`outbox/${encodeURIComponent(id)}/cancel`, { reason: form.get('reason') });
      onDone();
    }}>
    <p>It will never be sent.</p>
    <${Reason} />
  <//>`;
}

const WAITING = ['PENDING', 'RETRYING'];

/** What an operator may do with one message. */
function MessageActions ({ api, message: { id, status }, mayOperate, onDone }) {
  const [asked, setAsked] = useState(false);
  return html`<div class="card-foot"><${Notes} api=${api} about="message" target=${id}
      mayOperate=${mayOperate} path=${`outbox/${encodeURIComponent(id)}/note`} />
    ${mayOperate && WAITING.includes(status) && html`<button class="small danger"
      onClick=${() => setAsked(true)} aria-label=${`Cancel message ${id}`}>Cancel …</button>`}
    ${asked && html`<${CancelDialog} api=${api} id=${id} onDone=${onDone}
      onClose=${() => setAsked(false)} />`}</div>`;
}

/** Everything about one message. */
function Details ({ api, path, id, mayOperate }) {
  const { data, error, reload } = usePoll(signal =>
    api.get(`${path}/${encodeURIComponent(id)}`, {}, signal), LIST_MS, [api, path, id]);
  return html`<div class="details">
    <${Problem} error=${error} what="Could not load the message" />
    ${data && html`
      <dl class="pairs">
        <div><dt>Attempts</dt><dd>${data.attemptCount} of ${data.maxAttempts}</dd></div>
        <div><dt>Created</dt><dd><${Ago} at=${data.createdAt} /></dd></div>
        ${data.dedupeKey && html`<div><dt>Dedupe key</dt><dd><${Text}>${data.dedupeKey}<//></dd>
          </div>`}
        ${data.orderKey && html`<div><dt>Order key</dt><dd><${Text}>${data.orderKey}<//></dd>
          </div>`}
        ${data.providerMessageId && html`<div><dt>Provider id</dt><dd>
          <${Text}>${data.providerMessageId}<//></dd></div>`}
        ${data.delivery && html`<${Fate} delivery=${data.delivery} />`}
      </dl>
      <h4>Attempts</h4><${Attempts} message=${data} />
      ${(data.body ?? data.template) && html`<h4>Text</h4>
        <${Block} label="Text">${data.body ?? data.template}<//>`}
      ${data.html && html`<${Preview} key=${data.html} source=${data.html} />
        <details><summary>Source</summary><${Block} label="HTML">${data.html}<//></details>`}
      ${data.data !== null && data.data !== undefined && html`<h4>Data</h4>
        <${Block} label="Data">${JSON.stringify(data.data, null, 2)}<//>`}
      <${MessageActions} api=${api} message=${data} mayOperate=${mayOperate} onDone=${reload} />`}
  </div>`;
}

function Letter ({ letter, api, chosen, onChoose, onRetry, mayOperate }) {
  const { id, channel, recipient, subject, reason, lastError, kind, diedAt, errors } = letter;
  return html`<${Entry} class="letter" data-letter=${id}
    more=${`Errors (${errors})`} label=${`Details of ${id}`}
    details=${() => html`<${Details} api=${api} path="dlq" id=${id}
      mayOperate=${mayOperate} />`}
    after=${mayOperate && html`<button class="small" onClick=${onRetry}
      aria-label=${`Retry message ${id}`}>Retry</button>`}>
    ${mayOperate && html`<input type="checkbox" checked=${chosen} onChange=${onChoose}
      aria-label=${`Select message ${id}`}/>`}
    <${Badge} tone="bad"><${Text}>${kind}<//><//> <${Told} delivery=${letter.delivery} />
    <span class="grow"><span class="quiet">${channel}</span> <b><${Text}>${recipient}<//></b>
      ${subject && html` <${Text}>${subject}<//>`}
      <br/><span class="quiet"><${Text}>${reason}<//>${
        lastError && html`: <${Text}>${lastError}<//>`}</span></span>
    <span class="quiet"><${Ago} at=${diedAt} /></span><//>`;
}

function RetryDialog ({ api, what, filter, onDone, onClose }) {
  return html`<${Dialog} title=${`Retry ${what}`} submit="Retry" onClose=${onClose}
    onSubmit=${async form => {
      const rate = Number(form.get('rate'));
      const { retried } = await api.post('dlq/retry', {
        ...filter, ...(rate > 0 ? { rate } : {}),
        ...(form.get('reason') ? { reason: form.get('reason') } : {}),
      });
      onDone(`Retrying ${count(retried)}`);
    }}>
    <p>They are sent again, with a fresh attempt count.</p>
    <label class="field">Messages per second (empty: all at once)
      <input name="rate" type="number" min="0.001" step="any" inputmode="decimal"/></label>
    <${Reason} required=${false} />
  <//>`;
}

function PurgeDialog ({ api, what, filter, onDone, onClose }) {
  return html`<${Dialog} title=${`Delete ${what}`} submit="Delete for good" tone="danger"
    onClose=${onClose} onSubmit=${async form => {
      const { purged } = await api.post('dlq/purge', { ...filter, reason: form.get('reason') });
      onDone(`Deleted ${count(purged)}`);
    }}>
    <p>They cannot be restored, and will never be sent.</p>
    <${Reason} />
    <label class="check"><input type="checkbox" required/> Yes, delete ${what}</label>
  <//>`;
}

function Summary ({ summary, list }) {
  const { channel: chosenChannel, kind: chosenKind } = list.filter;
  return html`<div class="chips">${summary.map(({ channel, kind, count: number }) => {
    const pressed = chosenChannel === channel && chosenKind === kind;
    return html`<button key=${`${channel} ${kind}`} class="chip" aria-pressed=${String(pressed)}
      onClick=${() => list.set(pressed ? { channel: undefined, kind: undefined }
        : { channel, kind })}>
      ${channel} <${Text}>${kind}<//> <b>${count(number)}</b></button>`;
  })}</div>`;
}

function Actions ({ chosen, isEmpty, total, filter, setAsked }) {
  const filtered = Object.values(filter).some(value => value !== undefined);
  const ids = [...chosen];
  const target = ids.length > 0
    ? { what: `${ids.length} selected`, filter: { ids } }
    : filtered ? { what: 'all matching', filter } : { what: `all ${count(total)}`, filter: {} };
  const everything = ids.length === 0 && !filtered;
  const forPurge = { ...target, filter: everything ? { all: true } : target.filter };
  return html`<div class="buttons">
    <button disabled=${isEmpty} onClick=${() =>
      setAsked({ dialog: RetryDialog, ...target })}>Retry ${target.what} …</button>
    <button class="danger" disabled=${isEmpty} onClick=${() =>
      setAsked({ dialog: PurgeDialog, ...forPurge })}>Delete ${target.what} …</button>
  </div>`;
}

function DeadLetters ({ api, turns, mayOperate, notify }) {
  const list = useList(api, 'dlq', 'letters', turns.messages);
  const [chosen, setChosen] = useState(new Set());
  const [asked, setAsked] = useState(undefined);
  useEffect(() => setChosen(new Set()), [list.settled]);
  const summary = usePoll(signal => api.get('dlq/summary', {}, signal), STATS_MS,
    [api, turns.messages]);
  const total = summary.data?.total ?? 0;
  const choose = id => setChosen(old => {
    const next = new Set(old);
    if (!next.delete(id)) next.add(id);
    return next;
  });
  const done = text => {
    notify(text);
    setChosen(new Set());
    summary.reload();
    list.reload();
  };
  const retry = async ({ id }) => {
    try {
      await api.post(`dlq/${encodeURIComponent(id)}/retry`);
    } catch (caught) {
      return notify(`Message ${id}: ${caught.message}`, 'bad');
    }
    done(`Retrying message ${id}`);
    // Its button disappears. Keep the focus here, not at the top of the page.
    document.querySelector('#dlq-title').focus();
  };
  return html`<${Section} id="dlq" title=${html`Dead letters <span class="tag">${
    count(total)}</span>`}>
    <div class="filters" role="search" aria-label="Dead letters">
      <${Summary} summary=${summary.data?.summary ?? []} list=${list} />
      <${When} list=${list} word="Created" />
      <${Find} list=${list} placeholder="recipient, subject, error" />
    </div>
    ${mayOperate && html`<${Actions} chosen=${chosen} isEmpty=${list.rows.length === 0}
      filter=${{ ...list.settled, hours: undefined }} total=${total} setAsked=${setAsked} />`}
    <${List} list=${list} error=${list.error ?? summary.error} what="the dead letters"
      empty=${`No dead letters${total > 0 ? ' match' : '. Every message was sent, or will be'}.`}
      row=${letter => html`<${Letter} key=${letter.id} letter=${letter} api=${api}
        mayOperate=${mayOperate} chosen=${chosen.has(letter.id)}
        onChoose=${() => choose(letter.id)} onRetry=${() => retry(letter)} />`} />
    ${asked && html`<${asked.dialog} api=${api} ...${asked} onDone=${done}
      onClose=${() => setAsked(undefined)} />`}
  <//>`;
}

function Message ({ message, api, mayOperate }) {
  const { id, channel, recipient, subject, status, attemptCount, maxAttempts, delivery } = message;
  return html`<${Entry} class="letter" data-message=${id} label=${`Details of ${id}`}
    details=${() => html`<${Details} api=${api} path="outbox" id=${id}
      mayOperate=${mayOperate} />`}>
    <${Badge} tone=${TONES[status]}>${wordOf(status)}<//>
    <${Told} delivery=${delivery} />
    <span class="grow"><span class="quiet">${channel}</span> <b><${Text}>${recipient}<//></b>
      ${subject && html` <${Text}>${subject}<//>`}</span>
    <span class="quiet">${attemptCount}/${maxAttempts} · <${Ago} at=${message.createdAt} /></span>
  <//>`;
}

const Failure = ({ failure: { id, channel, recipient, errorCode, error, at, heardAt }, api }) =>
  html`<${Entry} class="letter" label=${`Details of ${id}`}
    details=${id !== null && (() => html`<${Details} api=${api} path="outbox" id=${id} />`)}>
    <${Badge} tone="bad"><${Text}>${errorCode ?? 'failed'}<//><//>
    <span class="grow"><span class="quiet">${channel ?? 'unknown'}</span> <b><${Text}>${
      recipient}<//></b> <span class="quiet"><${Text}>${error}<//></span></span>
    <span class="quiet"><${Ago} at=${at ?? heardAt} /></span><//>`;

/** Messages that were sent but did not arrive. The outbox does not retry them. */
function Undelivered ({ api, turns }) {
  const list = useList(api, 'undelivered', 'failures', turns.messages);
  if (list.rows.length === 0 && list.pages.length === 1) {
    return html`<${Problem} error=${list.error} what="Could not load the deliveries" />`;
  }
  return html`<${Section} id="undelivered" title="Sent but not delivered">
    <${List} list=${list} what="the deliveries" row=${failure => html`<${Failure}
      key=${failure.providerMessageId} failure=${failure} api=${api} />`} /><//>`;
}

function MessageList ({ api, turns, mayOperate, channels }) {
  const list = useList(api, 'outbox', 'messages', turns.messages);
  return html`<${Section} id="list" title="All messages">
    <div class="filters" role="search" aria-label="Messages">
      <${Choice} list=${list} name="status" label="Status" values=${STATUSES}
        wordOf=${wordOf} /><${Choice} list=${list} name="channel" label="Channel"
        values=${channels} wordOf=${name => name} /><${When} list=${list} /><${Find} list=${list} />
    </div>
    <${List} list=${list} what="the messages" empty="No messages." row=${message => html`
      <${Message} key=${message.id} message=${message} api=${api}
        mayOperate=${mayOperate} />`} />
  <//>`;
}

export function Messages (props) {
  const { api, turns } = props;
  const stats = usePoll(signal => api.get('outbox/stats', {}, signal), STATS_MS,
    [api, turns.messages]);
  return html`<div class="stack">
    <${Outbox} stats=${stats} /><${DeadLetters} ...${props} /><${Undelivered} ...${props} />
    <${MessageList} ...${props} channels=${Object.keys(stats.data?.channels ?? {})} /></div>`;
}
