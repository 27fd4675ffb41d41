import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import { BreakerGroup } from '../primitives/group';
import retry = require('../primitives/retry');
import { SekeringError } from '../base/errors';

export type PauseReason = 'credentials' | 'quota' | 'account';

export interface WhatsAppVerdict {
  /**
   * retry: the provider is down or overloaded. recipient: too many messages to this
   * number. pause: credentials, quota or account. dead: this message fails again.
   */
  kind: 'retry' | 'recipient' | 'pause' | 'dead';
  /** Whether another attempt makes sense. */
  retryable: boolean;
  /** Whether it counts against the provider. */
  trips: boolean;
  /** Whether the channel sends nothing until the pause ends. */
  pauses: boolean;
  /** Why it pauses. */
  reason: PauseReason | undefined;
  /** Whether only a template can be sent now. */
  needsTemplate: boolean;
  /**
   * Whether this may affect one recipient or all of them: when three recipients in a
   * row have got the same code, the client pauses.
   */
  doubtful: boolean;
}

/** Classifies an error of the Cloud API, from an answer or a webhook. */
export function classifyCloudError (
  error: { code?: number; is_transient?: boolean } | null | undefined, httpStatus?: number
): WhatsAppVerdict;

/** Classifies an answer of Green API. */
export function classifyGreenError (httpStatus: number, text?: string): WhatsAppVerdict;

/** The later of two statuses of one message, whichever came first. */
export function laterStatus (known: string | undefined, heard: string): string;

export class WhatsAppError extends SekeringError {
  constructor (code: string, message: string, judged: WhatsAppVerdict, details?: object);
  /** What went wrong, in one word. */
  readonly kind: WhatsAppVerdict['kind'];
  /** Whether another attempt makes sense. */
  readonly retryable: boolean;
  /** Whether the message may still have been sent. */
  readonly ambiguous: boolean;
  /** The provider's own code. */
  readonly providerCode: number | string | undefined;
  /** undefined if there was no answer. */
  readonly httpStatus: number | undefined;
  /** What the provider adds to the message (`error_data.details`). */
  readonly details: string | undefined;
  /** The customer has not written for a day: only a template may be sent. */
  readonly needsTemplate: boolean;
  /** The same in all attempts. */
  readonly reference: string | undefined;
  /** How often it was tried. */
  readonly attempts: number;
  /** All that is known about the error. */
  readonly verdict: WhatsAppVerdict;
  /** ms, if the provider asked for it. */
  readonly retryAfter?: number;
  /** Whether retry() stops at it. */
  readonly bail: boolean;
  /** Without secrets. */
  toJSON (): object;
}

export interface WhatsAppChannelOptions {
  /** The address of the provider's API. Default: the provider's own. */
  baseUrl?: string | undefined;
  /** Time limit of one attempt in ms, default that of the preset; false: no limit. */
  timeout?: number | false | undefined;
  /** Overrides retryPresets.email; false: one attempt. */
  retry?: Omit<retry.Options, 'signal'> | false | null | undefined;
  /** Overrides presets.whatsapp, or presets.greenApi with a volumeThreshold of 5; false: none. */
  breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options | false | null | undefined;
  /** Messages in flight at once, default 16. */
  connections?: number | undefined;
  /** How many messages may wait, default 1000. */
  maxQueue?: number | undefined;
  /** How long a message may wait in ms, default Infinity. */
  queueTimeout?: number | undefined;
  /** An undici dispatcher. */
  dispatcher?: object | undefined;
  /** ms between messages to a number that got too many, default 6000; 0: none. */
  recipientInterval?: number | undefined;
  /** The country of numbers that begin with 0: with '62', 0812… is +62812…. No default. */
  countryCode?: string | undefined;
  /** Whether to keep that interval from the start, default false. */
  paceAlways?: boolean | undefined;
  /** A pause ends by itself after so many ms, default Infinity. */
  resumeAfter?: number | undefined;
  /** Whether to retry when it is unknown if the message was sent, default true. */
  resendAmbiguous?: boolean | undefined;
}

export interface Pause {
  /** In one word. */
  reason: string;
  /** As in Date.now(). */
  since: number;
  /** The error because of which it pauses. */
  error: WhatsAppError | undefined;
}

export interface WhatsAppResult {
  /** The provider's id. */
  messageId: string;
  /** Digits of a number, or a chat. */
  recipient: string;
  /** The same in all attempts and in the statuses. */
  reference: string;
  /** How often it was tried. */
  attempts: number;
  /** Whether it may have been sent twice. */
  ambiguous: boolean;
  /** The provider's own answer. */
  response: any;
}

export interface CallOptions {
  /** Aborts the call. */
  signal?: AbortSignal | undefined;
}

export interface WhatsAppEvents {
  /** Another attempt follows, in `delay` ms. */
  retry: [{
    /** Of a message; undefined for an upload. */
    reference: string | undefined;
    /** Digits of a number, or a chat. */
    recipient: string | undefined;
    /** The attempt that failed, from 1. */
    attempt: number;
    /** Why it failed. */
    error: WhatsAppError;
    /** ms until the next attempt. */
    delay: number;
  }];
  /** It sends nothing until the pause ends. */
  paused: [Pause];
  /** A pause has ended. */
  resumed: [{ reason: string }];
  /** No message can be sent; needs attention. */
  alert: [{ kind: string; error: WhatsAppError }];
  /** From a webhook, like the events below. Each is emitted once. */
  status: [MessageStatus];
  /** A customer's message, in the provider's format. */
  message: [any];
  /** Cloud API: an error of the account or the app. */
  webhookError: [WebhookError];
  /** Green API: any other webhook, unchanged. */
  notification: [any];
}

declare class WhatsAppChannel extends EventEmitter {
  /** The breaker of all calls; share or watch it. */
  readonly breaker: CircuitBreaker<any, any>;
  /** Messages that are being sent. */
  readonly active: number;
  /** Messages that wait. */
  readonly queued: number;
  /** null: it is not paused. */
  readonly paused: Pause | null;
  /** Sends nothing until resume(). */
  pause (reason?: string, error?: WhatsAppError): void;
  /** Returns whether it was paused. */
  resume (): boolean;
  /** Sends what has begun; messages that wait are rejected. */
  close (): Promise<void>;
  /**
   * Like handleWebhook, but it first stores the statuses and calls `onNews`. If either fails, it
   * rejects: answer with an error. Then the provider repeats the webhook, and its entries count as
   * new again. Resolves with what is new.
   */
  receiveWebhook (
    body: unknown, headers: WebhookHeaders, options?: ReceiveOptions
  ): Promise<WebhookNews>;
  /** For logs; without secrets. */
  toJSON (): { name: string; active: number; queued: number; paused: string | null };

  on<E extends keyof WhatsAppEvents> (
    event: E, listener: (...args: WhatsAppEvents[E]) => void): this;
  once<E extends keyof WhatsAppEvents> (
    event: E, listener: (...args: WhatsAppEvents[E]) => void): this;
}

export interface CloudApiClientOptions extends WhatsAppChannelOptions {
  /** Of the app at Meta. */
  accessToken: string;
  /** The number that messages come from. */
  phoneNumberId: string;
  /** For webhooks. */
  appSecret?: string | undefined;
  /** For the handshake of a webhook. */
  verifyToken?: string | undefined;
  /** Default 'v23.0'. */
  version?: string | undefined;
}

/** Either the id of an upload or a link. */
export interface MediaContent {
  /** The id of a file that was uploaded. Either this or `link`. */
  id?: string | undefined;
  /** The address of the file. Either this or `id`. */
  link?: string | undefined;
  /** The text below it. Default: none. */
  caption?: string | undefined;
}

/** A message in the Cloud API's own format. */
export interface CloudMessage {
  /** A number of E.164. */
  to: string;
  /** What it is; the member of the same name has the content. */
  type: 'text' | 'template' | 'image' | 'audio' | 'video' | 'document' | 'sticker' | 'location' |
    'contacts' | 'interactive' | 'reaction';
  /** A text. */
  text?: { body: string; preview_url?: boolean | undefined } | undefined;
  /** A template that WhatsApp has approved. */
  template?: {
    /** As WhatsApp has approved it. */
    name: string; language: { code: string }; components?: object[] | undefined;
  } | undefined;
  /** A picture. */
  image?: MediaContent | undefined;
  /** A recording; it has no caption. */
  audio?: MediaContent | undefined;
  /** A film. */
  video?: MediaContent | undefined;
  /** A file with its name. */
  document?: MediaContent & { filename?: string | undefined } | undefined;
  /** A sticker; it has no caption. */
  sticker?: MediaContent | undefined;
  /** Comes back as `reference` in the statuses. Default: generated. */
  biz_opaque_callback_data?: string | undefined;
  [field: string]: unknown;
}

/** A file of up to 100 MiB; not a stream, which cannot be sent twice. */
export interface CloudMedia {
  /** The content of the file. */
  data: Uint8Array;
  /** Such as image/png. */
  type: string;
  /** The name of a document. */
  filename?: string | undefined;
}

export interface MessageStatus {
  /** The provider's id. */
  messageId: string | undefined;
  /** sent, delivered, read or failed: in any order, repeated; delivered may be missing. */
  status: string | undefined;
  /** Digits of a number, or a chat. */
  recipient: string | undefined;
  /** The reference of the message, if it had one. */
  reference: string | undefined;
  /** As in Date.now(). */
  at: number | undefined;
  /** The number that has sent it. */
  phoneNumberId: string | undefined;
  /** Why it was not delivered; empty if it was. */
  errors: StatusError[];
}

export interface StatusError {
  /** Of Green API, a word such as noAccount. */
  code: number | string | undefined;
  /** The provider's title. */
  title: string | undefined;
  /** The provider's words. */
  message: string | undefined;
  /** `error_data.details`. */
  details: string | undefined;
  /** What that means. */
  verdict: WhatsAppVerdict;
}

export interface WebhookError extends StatusError {
  /** The number that the webhook is about. */
  phoneNumberId: string | undefined;
}

/** The headers of a webhook, or the one that proves who sent it. */
export type WebhookHeaders = string | Record<string, string | string[] | undefined> | undefined;

export interface ReceiveOptions {
  /** `store.deliveries`: each event is emitted once in all processes, even after a restart. */
  deliveries?: {
    /** Stores them, as `store.deliveries` does. */
    record (statuses: MessageStatus[]): Promise<unknown>;
    /** Called once for each news, with the transaction in which it is recorded. */
    handleOnce?: ((
      items: any[], keyOf: (item: any) => string | undefined,
      work: (fresh: any[]) => Promise<unknown>
    ) => Promise<void>) | undefined;
  } | undefined;
  /** Called with what is new, before events are emitted. */
  onNews?: ((news: WebhookNews) => unknown) | undefined;
}

export interface WebhookNews {
  /** The statuses of this webhook. */
  statuses: MessageStatus[];
  /** Messages of customers, in the provider's format. */
  messages: any[];
  /** Cloud API: of the account or the app. */
  errors: WebhookError[];
  /** Green API: all other webhooks, unchanged. */
  notifications: any[];
}

export class CloudApiClient extends WhatsAppChannel {
  /** @throws ERR_INVALID_OPTION, ERR_MISSING_PEER */
  constructor (options: CloudApiClientOptions);
  /** Rejects with ERR_INVALID_INPUT and `faults` before anything is sent, or a WhatsAppError. */
  send (message: CloudMessage, options?: CallOptions): Promise<WhatsAppResult>;
  /** Checks a message as send() does, without sending it. @throws ERR_INVALID_INPUT */
  check (message: CloudMessage): void;
  /** Sends a text. */
  sendText (to: string, body: string, options?: CallOptions): Promise<WhatsAppResult>;
  /** Sends a template that WhatsApp has approved. */
  sendTemplate (
    to: string,
    template: {
      /** Its name and language, and the values for its places. */
      name: string; language: string | { code: string }; components?: object[] | undefined;
    },
    options?: CallOptions
  ): Promise<WhatsAppResult>;
  /** Whether the API answers and accepts the token. */
  ping (options?: CallOptions): Promise<{ ok: true }>;
  /**
   * Uploads a file, to be sent by its id: `{ to, type: 'image', image: { id: mediaId } }`. An
   * attempt may take at least a minute. Rejects as `send` does.
   */
  uploadMedia (media: CloudMedia, options?: CallOptions): Promise<{
    /** For messages; how often it was tried; the provider's own answer. */
    mediaId: string; attempts: number; response: any;
  }>;
  /** The response to a GET with `hub.mode` and so on; undefined: 403. */
  handshake (query: object): string | undefined;
  /** Whether the app secret has signed these bytes. */
  verifySignature (rawBody: string | Uint8Array, header: string | undefined): boolean;
  /**
   * Emits what is new, as far as this process remembers; returns everything in the webhook.
   * @throws ERR_WHATSAPP_SIGNATURE
   */
  handleWebhook (rawBody: string | Uint8Array, headers: WebhookHeaders): WebhookNews;
  /**
   * Marks a customer's message as read. `typing`: also shows that you are typing, until you answer
   * or 25 s have passed.
   */
  markRead (messageId: string, options?: CallOptions & { typing?: boolean | undefined }):
    Promise<{ attempts: number; response: any }>;
}

export interface GreenApiClientOptions extends WhatsAppChannelOptions {
  /** Digits: the instance that sends. */
  instanceId: string | number;
  /** apiTokenInstance */
  token: string;
  /** For uploads. Default https://media.green-api.com, or `baseUrl` if that is given. */
  mediaUrl?: string | undefined;
  /** The instance's webhookUrlToken, for webhooks. */
  webhookToken?: string | undefined;
}

export interface GreenMessage {
  /** A number of E.164 or a chat (…@c.us, …@g.us). */
  to: string;
  /** A text of 1 to 20000 characters; not with a file. */
  message?: string | undefined;
  /** The URL of a file, up to 100 MB. */
  url?: string | undefined;
  /** A file to upload, up to 100 MiB. */
  data?: Uint8Array | undefined;
  /** The type of `data`, such as image/png. */
  type?: string | undefined;
  /** Its extension decides how the file is shown. */
  filename?: string | undefined;
  /** The text below a file. Default: none. */
  caption?: string | undefined;
  /** The id of the message that this one answers. Default: none. */
  quotedMessageId?: string | undefined;
  /** Your own name for it. */
  reference?: string | undefined;
}

export class GreenApiClient extends WhatsAppChannel {
  /** @throws ERR_INVALID_OPTION, ERR_MISSING_PEER */
  constructor (options: GreenApiClientOptions);
  /** Rejects with ERR_INVALID_INPUT and `faults` before anything is sent, or a WhatsAppError. */
  send (message: GreenMessage, options?: CallOptions): Promise<WhatsAppResult>;
  /** Checks a message as send() does, without sending it. @throws ERR_INVALID_INPUT */
  check (message: GreenMessage): void;
  /** Sends a text. */
  sendText (to: string, message: string, options?: CallOptions): Promise<WhatsAppResult>;
  /** Sends `{ url, filename, caption }` or `{ data, type, filename, caption }`. */
  sendFile (to: string, file: Omit<GreenMessage, 'to' | 'message'>, options?: CallOptions):
    Promise<WhatsAppResult>;
  /** Marks a message as read, or the whole chat without an id. `typing`: see sendTyping. */
  markRead (messageId: string | undefined, options: CallOptions & {
    /** The chat, and whether to show that somebody types. */
    chat: string; typing?: boolean | undefined;
  }): Promise<{ attempts: number; response: any }>;
  /** Shows that you are typing; `duration` is 1000 to 20000 ms, default 5000. */
  sendTyping (to: string, options?: CallOptions & {
    /** How long it shows, in ms, and whether as recording instead of typing. */
    duration?: number | undefined; recording?: boolean | undefined;
  }): Promise<{ attempts: number }>;
  /**
   * Emits what is new, as far as this process remembers; returns everything in the webhook. The
   * header Authorization must hold `webhookToken`. @throws ERR_WHATSAPP_SIGNATURE,
   * ERR_WHATSAPP_WEBHOOK
   */
  handleWebhook (body: unknown, headers: WebhookHeaders): WebhookNews;
  /** Whether the instance is paired and ready. */
  ping (options?: CallOptions): Promise<{ ok: boolean; state: string }>;
}

/** Explains an error of a session and what to do, without secrets. */
export function operatorMessage (error: unknown, id?: string): string;

export class SessionError extends SekeringError {
  constructor (id: string, cause: Error, ambiguous?: boolean);
  /** Of the instance. */
  readonly id: string;
  /** Whether the message may still have been sent. */
  readonly ambiguous: boolean;
  /** What is wrong with it. */
  readonly trouble:
    'open' | 'logged-out' | 'forbidden' | 'outdated' | 'replaced' | 'bad-session' | 'restart' |
    'unscanned' | 'no-session' | 'no-address' | 'timed-out' | 'web-socket' | 'other';
  /** Whether the breaker of the instance is open. */
  readonly circuit_breaker: boolean;
  /** Whether another attempt makes sense. */
  readonly retryable: boolean;
  /** Without secrets. */
  toJSON (): object;
}

/** The result of connect(). */
export interface SessionSocket {
  /** Sends a message, as in Baileys and whatsapp-web.js. */
  sendMessage (jid: string, content: any, ...rest: any[]): unknown;
  /** Baileys emits 'connection.update' here; otherwise the socket itself may have events. */
  ev?: any;
  /** Listens to events, in whatsapp-web.js. */
  on?: any;
  /** Marks messages as read, in Baileys. */
  readMessages?: any;
  /** Shows that somebody types, in Baileys. */
  sendPresenceUpdate?: any;
  /** Ends the connection, in Baileys. */
  end?: any;
  /** Ends the connection. */
  close?: any;
}

/** The second argument of `connect`. `fresh`: a new QR code was requested. */
export interface ConnectContext {
  /** Aborts when the attempt takes too long, or is not wanted any more. */
  signal: AbortSignal;
  /** Whether the stored login must not be used. */
  fresh: boolean;
}

/** Makes the option `connect` of a SessionPool from a function that makes sockets of Baileys. */
export function fromBaileys (makeSocket: (id: string, context: ConnectContext) => unknown):
  (id: string, context: ConnectContext) => Promise<any>;

/**
 * Makes the option `connect` of a SessionPool from a function that makes clients of
 * whatsapp-web.js, or from a single client, which connects only once.
 */
export function fromWhatsappWeb (
  client: object | ((id: string, context: ConnectContext) => unknown)
): (id: string, context: ConnectContext) => Promise<any>;

export type WhenOpen = 'throw' | 'null' | 'object';

/** The result of `send` while the breaker is open, with whenOpen 'object'. */
export interface CircuitOpenAnswer {
  /** Tells it from an answer of WhatsApp. */
  circuit_breaker: true;
  /** What to show to people. */
  error: string;
}

export interface SessionPoolOptions<S extends SessionSocket = SessionSocket> {
  /** `fresh`: a new QR code was requested. */
  connect: (id: string, context: { signal: AbortSignal; fresh: boolean }) => S | PromiseLike<S>;
  /** Of each instance; overrides presets.whatsappSession. */
  breaker?: BreakerGroup.Options | undefined;
  /** Time limit to connect, and to send, in ms; default 20000. */
  timeout?: number | undefined;
  /** Of connecting; overrides retryPresets.email; false: one attempt. */
  retry?: Omit<retry.Options, 'signal'> | false | null | undefined;
  /** Whether a lost connection is made again before it is needed, default true. */
  reconnect?: boolean | undefined;
  /** What `send` does while the breaker is open, default 'throw'. */
  whenOpen?: WhenOpen | undefined;
  /** The country of numbers that begin with 0: with '62', 0812… is +62812…. No default. */
  countryCode?: string | undefined;
  /** How many instances, default 10000. */
  max?: number | undefined;
}

export interface SessionStatus {
  /** Of the instance. */
  id: string;
  /** What it does now. */
  state: 'idle' | 'connecting' | 'qr' | 'open' | 'closed' | 'logged-out' | 'stopped';
  /** Whether it can send. */
  connected: boolean;
  /** Of the breaker of the instance. */
  circuit_breaker: 'closed' | 'open' | 'half-open';
  /** In the window of the breaker. */
  recent_failures: number;
  /** null: there was none. */
  last_error: string | null;
}

export interface SessionHealth {
  /** Instances of the pool. */
  total_instances: number;
  /** Instances that can send. */
  active_connections: number;
  /** Instances that try to connect. */
  connecting: number;
  /** How often breakers have opened. */
  circuit_breaker_activations: number;
  /** Attempts to connect after the first. */
  total_retry_attempts: number;
  /** In the windows of all breakers. */
  total_recent_failures: number;
  /** 0 to 100. */
  health_score: number;
}

export interface SessionPoolEvents {
  /** An instance can send. */
  connected: [id: string];
  /** An instance cannot send any more. */
  disconnected: [id: string, details: { error: Error; message: string }];
  /** A code that a person must scan. */
  qr: [id: string, qr: string];
  /** Connecting is retried in `delay` ms. */
  retry: [id: string, details: { attempt: number; error: any; delay: number }];
  /** Its breaker was closed by hand. */
  reset: [id: string];
  /** Of the instance's breaker. */
  open: [id: string];
  /** Its breaker probes. */
  halfOpen: [id: string];
  /** Its breaker is closed again. */
  close: [id: string];
  /** For the operator. */
  trouble: [{ id: string; message: string; error: SessionError }];
  /** A person must act. */
  alert: [{
    /** What is wrong. */
    kind: 'circuit-breaker' | 'logged-out' | 'forbidden' | 'outdated' | 'replaced' | 'bad-session';
    /** With which instance, and what to do. */
    id: string; message: string;
  }];
  /** The delivery status of a message. */
  status: [id: string, status: MessageStatus];
}

export class SessionPool<S extends SessionSocket = SessionSocket> extends EventEmitter {
  /** @throws ERR_INVALID_OPTION */
  constructor (options: SessionPoolOptions<S>);
  /** One breaker for each instance. */
  readonly breakers: BreakerGroup<any, any, string>;
  /** Instances of the pool. */
  readonly size: number;
  /** The ids of all instances. */
  ids (): string[];
  /**
   * Sends from an instance, after connecting it if needed. If the connection was dead and nothing
   * was written, the message is sent once over a new one. After any other failure it is not
   * sent again, and the error's `ambiguous` says whether it may have been sent.
   */
  send (
    id: string, to: string, content: object | string,
    options?: CallOptions & { whenOpen?: WhenOpen }
  ): Promise<any>;
  /**
   * Marks a message as read. `key`: Baileys `message.key`, whatsapp-web.js `message.id`. `typing`:
   * see sendTyping.
   */
  markRead (id: string, key: object, options?: CallOptions & { typing?: boolean | undefined }):
    Promise<void>;
  /** Shows that you are typing. */
  sendTyping (id: string, to: string, options?: CallOptions): Promise<void>;
  /** Connects an instance; `qr` if a code must be scanned. */
  connect (id: string, options?: CallOptions): Promise<{ connected: boolean; qr?: string }>;
  /** Resets the breaker, ends the old connection and begins a new one. */
  requestQr (id: string, options?: CallOptions): Promise<{ connected: boolean; qr?: string }>;
  /** Closes an instance's breaker by hand; returns whether the instance is known. */
  reset (id: string): boolean;
  /** Ends an instance and forgets it; false if there is none. */
  remove (id: string): boolean;
  /** undefined if there is no such instance. */
  status (id: string): SessionStatus | undefined;
  /** Sums over all instances. */
  health (): SessionHealth;
  /** Ends all instances. */
  close (): void;

  on<E extends keyof SessionPoolEvents> (
    event: E, listener: (...args: SessionPoolEvents[E]) => void): this;
  once<E extends keyof SessionPoolEvents> (
    event: E, listener: (...args: SessionPoolEvents[E]) => void): this;
}

export {};
