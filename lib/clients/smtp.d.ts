import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { SekeringError } from '../base/errors';

export type SmtpAddress = string | { name?: string | undefined; address: string };
export type SmtpAddresses = SmtpAddress | SmtpAddress[];

/** A message in nodemailer's format; other fields are passed on unchanged. */
export interface SmtpMail {
  /** The sender. Default: the option `from` of the client. */
  from?: SmtpAddress | undefined;
  /** Recipients. */
  to?: SmtpAddresses | undefined;
  /** Recipients of a copy. */
  cc?: SmtpAddresses | undefined;
  /** Recipients of a copy that the others do not see. */
  bcc?: SmtpAddresses | undefined;
  /** Who really sends it, if that is not `from`. Default: none. */
  sender?: SmtpAddress | undefined;
  /** Where answers go. Default: to `from`. */
  replyTo?: SmtpAddresses | undefined;
  /** One line. */
  subject?: string | undefined;
  /** Bodies may be text, Buffers or { path }, but not streams, which cannot be sent twice. */
  text?: unknown;
  /** The text as HTML, as in nodemailer. Default: none. */
  html?: unknown;
  /** As in nodemailer. Default: none. */
  attachments?: unknown[] | undefined;
  /** Further headers. Default: none. */
  headers?: Record<string, unknown> | Array<{ key: string; value: unknown }> | undefined;
  /** The same in all attempts. Default: generated. */
  messageId?: string | undefined;
  /** Default: now. */
  date?: Date | string | undefined;
  /** Replaces the addresses in the headers. */
  envelope?: {
    /** The sender that the relay gets; false: none. Default: that of the mail. */
    from?: SmtpAddress | false | undefined;
    /** The recipients that the relay gets. Default: those of the mail. */
    to?: SmtpAddresses | undefined;
    /** More recipients for the relay. */
    cc?: SmtpAddresses | undefined;
    /** More recipients for the relay. */
    bcc?: SmtpAddresses | undefined;
  } | undefined;
  [option: string]: unknown;
}

export interface SmtpRecipient {
  /** As it was given. */
  address: string;
  /** deferred: not yet accepted; another attempt may succeed. */
  status: 'accepted' | 'rejected' | 'deferred';
  /** The status of SMTP for this recipient, such as 550. */
  responseCode?: number | undefined;
  /** The relay's words about this recipient. */
  response?: string | undefined;
  /** With `relays`: the name of the relay that answered last. */
  relay?: string | undefined;
}

export interface SmtpResult {
  /** The Message-ID, the same in all attempts. */
  messageId: string;
  /** Addresses that the relay took. */
  accepted: string[];
  /** Addresses that were rejected for good. */
  rejected: string[];
  /** Addresses that may be accepted later. */
  deferred: string[];
  /** All of them, with the relay's words. */
  recipients: SmtpRecipient[];
  /** How often the mail was handed to a relay. */
  attempts: number;
  /** Whether it may have arrived twice, because an attempt got no answer after the last line. */
  ambiguous: boolean;
  /** The server's last reply. */
  response: string | undefined;
}

export type SmtpReason = 'quota' | 'rate' | 'credentials' | 'certificate' | 'tls' | 'refused' |
  'configuration';

export interface SmtpVerdict {
  /**
   * retry: another attempt may succeed. permanent: it fails again. pause: the account has reached
   * its limit, and all messages wait. ours: credentials, certificate, no TLS, a rejected host or
   * sender, settings.
   */
  kind: 'retry' | 'permanent' | 'pause' | 'ours';
  /** For the kinds pause and ours; after pause(reason) it is that reason. */
  reason: SmtpReason | (string & {}) | undefined;
  /** Whether the message may be sent again, perhaps after a repair. */
  retryable: boolean;
  /** Whether it counts against the server. */
  trips: boolean;
  /** Whether it pauses the client. */
  pauses: boolean;
  /** Whether a person must act. */
  alert: boolean;
  /** Of SMTP, such as 550; undefined if there was no answer. */
  responseCode: number | undefined;
  /** Such as '5.4.5' (RFC 3463), if the server sent one. */
  enhancedCode: string | undefined;
  /** For the kind pause: how long until the limit ends, ms. */
  pauseMs: number | undefined;
}

/** Why a client is paused. */
export interface SmtpPause {
  /** Why the client sends nothing now. */
  reason: SmtpReason | (string & {});
  /** As in Date.now(). */
  since: number;
  /** The error because of which it pauses. */
  error: SmtpError | undefined;
  /** In an event, with `relays`: the name of the relay. */
  relay?: string | undefined;
}

/** Classifies an error of nodemailer, or of a breaker or limit around it. */
export function classifySmtpError (error: unknown): SmtpVerdict;

/**
 * Why a message was not sent; `code` is nodemailer's, the breaker's or the limit's,
 * ERR_SMTP_TLS_REQUIRED (`requireTls`) or ERR_SMTP_PAUSED (the server was not contacted).
 */
export class SmtpError extends SekeringError {
  constructor (cause: unknown, details?: {
    /** The name of the relay, if there are several. */
    relay?: string | undefined;
    /** The Message-ID of the mail. */
    messageId?: string | undefined;
    /** How often it was tried. */
    attempts?: number | undefined;
    /** Whether the mail may have been accepted all the same: the answer was lost. */
    ambiguous?: boolean | undefined;
    /** Recipients that were rejected for good. */
    rejected?: SmtpRecipient[] | undefined;
    /** Recipients that may be accepted later. */
    deferred?: SmtpRecipient[] | undefined;
  });
  /** Whose fault it is; see the guide. */
  readonly kind: SmtpVerdict['kind'];
  /** What went wrong, in one word. */
  readonly reason: SmtpVerdict['reason'];
  /** Whether another attempt makes sense. */
  readonly retryable: boolean;
  /** Whether it may still have been delivered. */
  readonly ambiguous: boolean;
  /** Of SMTP, such as 550; undefined if there was no answer. */
  readonly responseCode: number | undefined;
  /** Such as 5.7.1; undefined if there was none. */
  readonly enhancedCode: string | undefined;
  /** The command that failed, such as RCPT TO. */
  readonly command: string | undefined;
  /** With `relays`: the name of the relay. */
  readonly relay?: string | undefined;
  /** Of the mail, the same in all attempts. */
  readonly messageId: string | undefined;
  /** How often it was tried. */
  readonly attempts: number;
  /** Recipients that were rejected for good. */
  readonly rejected: SmtpRecipient[];
  /** Recipients that may be accepted later. */
  readonly deferred: SmtpRecipient[];
  /** All that is known about the error. */
  readonly verdict: SmtpVerdict;
  /** Whether retry() stops at it. */
  readonly bail: boolean;
  /** Without secrets. */
  toJSON (): object;
}

/** The used part of a transport of nodemailer.createTransport(). */
export interface SmtpTransport {
  /** Sends a mail, as in nodemailer. */
  sendMail (message: any): Promise<any>;
  /** Connects, logs in and disconnects. */
  verify? (): Promise<any>;
  /** Closes its connections. */
  close? (): unknown;
}

/** What each relay may have of its own. */
export interface SmtpRelayOptions {
  /** A transport of nodemailer.createTransport(); you close it. */
  transport?: SmtpTransport | undefined;
  /** Or the options of nodemailer.createTransport(); needs the package nodemailer. */
  smtp?: object | string | undefined;
  /**
   * Whether passwords and mails are never sent to a server that offers no TLS (STARTTLS).
   * Default true, unless the host is this machine (localhost, 127.0.0.0/8, ::1); nodemailer's own
   * requireTLS in `smtp` applies if this is not given. `secure` begins with TLS in any case. Cannot
   * be given together with a transport. nodemailer's ignoreTLS and opportunisticTLS need `false`.
   */
  requireTls?: boolean | undefined;
  /** The sender of messages that name none. */
  from?: SmtpAddress | undefined;
  /** Mails in flight at once, default 5. Waiting does not count towards `timeout`. */
  maxConnections?: number | undefined;
  /** Overrides presets.smtp; false: none. */
  breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options | false | undefined;
}

export interface SmtpClientOptions extends SmtpRelayOptions {
  /**
   * 1 to 10 relays in place of `smtp` or `transport`, tried in order. A mail goes on to the next
   * relay if this one has an open breaker, is paused or has a full queue, or if it failed. It does
   * not go on after a permanent refusal. `requireTls`, `from`, `maxConnections` and `breaker`
   * (options or false) of the client are the defaults for all relays.
   */
  relays?: Array<SmtpRelayOptions & {
    /**
     * 1 to 64 letters, digits, dots, dashes or underscores; default '1', '2' and so on. The breaker
     * has the name `smtp.${name}`.
     */
    name?: string | undefined;
  }> | undefined;
  /** Default fields of every message. */
  defaults?: SmtpMail | undefined;
  /** How many mails may wait for a relay, default 1000. */
  maxQueue?: number | undefined;
  /** How long a mail may wait in ms, default Infinity. */
  queueTimeout?: number | undefined;
  /** Time limit of one attempt at one relay in ms, default 5000. */
  timeout?: number | undefined;
  /** Overrides retryPresets.email; false: one attempt. */
  retry?: Omit<retry.Options, 'signal'> | false | undefined;
  /**
   * Whether to send again, also through another relay, when a server got the whole message but did
   * not answer. Default true.
   */
  resendAmbiguous?: boolean | undefined;
  /**
   * How long a pause because of a used-up quota lasts, in ms. Default: 7200000 (2 hours), or
   * 900000 (15 minutes) for an hourly quota.
   */
  resumeAfter?: number | undefined;
}

export interface SmtpClientEvents {
  /** Another attempt follows, in `delay` ms. */
  retry: [{ messageId: string; attempt: number; error: SmtpError; delay: number }];
  /**
   * No message can be sent: until the operator fixes it (the breaker has opened), or, for the kinds
   * quota and rate, for a while (the client is paused). If the pause keeps returning, it is
   * repeated at most once an hour. With `relays`, each relay alerts separately, and `relay` is its
   * name.
   */
  alert: [{ kind: SmtpReason; error: SmtpError; relay?: string | undefined }];
  /** It sends nothing until the pause ends. */
  paused: [SmtpPause];
  /** A pause has ended. */
  resumed: [{ reason: string; relay?: string | undefined }];
}

/** A relay of a client. */
export interface SmtpRelay {
  /** undefined without `relays`. */
  readonly name: string | undefined;
  /** The breaker of this relay. */
  readonly breaker: CircuitBreaker<any, any>;
  /** Mails in flight. */
  readonly active: number;
  /** Waiting mails. */
  readonly queued: number;
  /** Why it is paused; null if it is not. */
  readonly paused: SmtpPause | null;
  /** Sends nothing to it until resume(). */
  pause (reason?: string): void;
  /** Returns whether it was paused. */
  resume (): boolean;
  /** Connects, logs in and disconnects; does not use the breaker. */
  verify (options?: { timeout?: number | undefined }): Promise<true>;
  /** Mails that are being sent, and mails that wait. */
  toJSON (): { name: string; active: number; queued: number };
}

export class SmtpClient extends EventEmitter {
  /** @throws ERR_INVALID_OPTION, ERR_MISSING_PEER */
  constructor (options: SmtpClientOptions);
  /** The relays, in the order in which they are tried, even if there is only one. */
  readonly relays: SmtpRelay[];
  /**
   * The breaker. With several relays: a view of all their breakers, for a worker of the outbox and
   * for degradation. It is open while all of them are open, and half-open while none is closed but
   * at least one is half-open. It has the states and events of a breaker, and open(), close() and
   * reset(), which act on all; it has no other members.
   */
  readonly breaker: CircuitBreaker<any, any>;
  /** Mails in flight. */
  readonly active: number;
  /** Waiting mails. */
  readonly queued: number;
  /** Why the client is paused; null unless all relays are. */
  readonly paused: SmtpPause | null;
  /** Stops sending until resume(). Waiting mails are rejected, and can be sent again later. */
  pause (reason?: string): void;
  /** Sends again. Returns whether it was paused. */
  resume (): boolean;
  /**
   * Sends a message, and retries the recipients that the server defers. Resolves when at least one
   * recipient was accepted; rejects with an SmtpError when none was, with ERR_INVALID_INPUT and
   * `faults` before anything is sent.
   */
  send (message: SmtpMail, options?: { signal?: AbortSignal | undefined }): Promise<SmtpResult>;
  /** Checks a message as send() does, without sending it. @throws ERR_INVALID_INPUT */
  check (message: SmtpMail): void;
  /**
   * Connects to every relay, logs in and disconnects; does not use the breaker. If one of them
   * fails, it rejects with an SmtpError whose `relay` is the name, at the latest after `timeout` ms
   * (default 10000). It cannot close the connection of a `transport`.
   */
  verify (options?: { timeout?: number | undefined }): Promise<true>;
  /** Ends all connections; mails that wait are rejected. */
  close (): void;
  /** For logs; without secrets. */
  toJSON (): {
    /** Mails that are being sent, and mails that wait. */
    name: string; active: number; queued: number;
    /**
     * For each relay: mails that are being sent, and mails that wait. undefined if there is one
     * relay.
     */
    relays?: Array<{ name: string; active: number; queued: number }>;
  };

  on<E extends keyof SmtpClientEvents> (
    event: E, listener: (...args: SmtpClientEvents[E]) => void): this;
  once<E extends keyof SmtpClientEvents> (
    event: E, listener: (...args: SmtpClientEvents[E]) => void): this;
}

export {};
