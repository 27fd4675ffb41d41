import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { SekeringError } from '../base/errors';

export type SmtpAddress = string | { name?: string | undefined; address: string };
export type SmtpAddresses = SmtpAddress | SmtpAddress[];

/** A message in nodemailer's form; what is not named here is handed on as it is. */
export interface SmtpMail {
  from?: SmtpAddress | undefined;
  to?: SmtpAddresses | undefined;
  cc?: SmtpAddresses | undefined;
  bcc?: SmtpAddresses | undefined;
  sender?: SmtpAddress | undefined;
  replyTo?: SmtpAddresses | undefined;
  subject?: string | undefined;
  /** Bodies may be text, Buffers or { path }, but no streams: those cannot be sent twice. */
  text?: unknown;
  html?: unknown;
  attachments?: unknown[] | undefined;
  headers?: Record<string, unknown> | Array<{ key: string; value: unknown }> | undefined;
  /** Made once for all attempts unless given. */
  messageId?: string | undefined;
  date?: Date | string | undefined;
  /** In place of the addresses in the headers. */
  envelope?: {
    from?: SmtpAddress | false | undefined;
    to?: SmtpAddresses | undefined;
    cc?: SmtpAddresses | undefined;
    bcc?: SmtpAddresses | undefined;
  } | undefined;
  [option: string]: unknown;
}

export interface SmtpRecipient {
  address: string;
  /** deferred: not yet taken, and worth another attempt. */
  status: 'accepted' | 'rejected' | 'deferred';
  responseCode?: number | undefined;
  response?: string | undefined;
}

export interface SmtpResult {
  messageId: string;
  accepted: string[];
  rejected: string[];
  deferred: string[];
  recipients: SmtpRecipient[];
  attempts: number;
  /** Whether it may have arrived twice: an attempt ended in silence after the last line. */
  ambiguous: boolean;
  /** The server's last words. */
  response: string | undefined;
}

export type SmtpReason = 'quota' | 'rate' | 'credentials' | 'certificate' | 'tls' | 'refused' |
  'configuration';

export interface SmtpVerdict {
  /**
   * retry: another attempt may succeed. permanent: it fails again. pause: the account has sent as
   * much as it may, and all messages wait. ours: credentials, certificate, no TLS, a host or sender
   * that is rejected, settings.
   */
  kind: 'retry' | 'permanent' | 'pause' | 'ours';
  /** For the kinds pause and ours; after pause(reason) it is that reason. */
  reason: SmtpReason | (string & {}) | undefined;
  /** Whether the message may be sent again, be it after a repair. */
  retryable: boolean;
  /** Whether it counts against the server. */
  trips: boolean;
  /** Whether it pauses the client. */
  pauses: boolean;
  alert: boolean;
  responseCode: number | undefined;
  /** Such as '5.4.5' (RFC 3463), if the server sent one. */
  enhancedCode: string | undefined;
}

/** Why a client is paused. */
export interface SmtpPause {
  reason: SmtpReason | (string & {});
  /** As Date.now() counts. */
  since: number;
  error: SmtpError | undefined;
}

/** Judges an error of nodemailer's, or of a breaker or limit around it. */
export function classifySmtpError (error: unknown): SmtpVerdict;

/**
 * Why a message was not sent; `code` is nodemailer's, the breaker's or the limit's,
 * ERR_SMTP_TLS_REQUIRED (`requireTls`) or ERR_SMTP_PAUSED (the server was not asked).
 */
export class SmtpError extends SekeringError {
  constructor (cause: unknown, details?: {
    messageId?: string | undefined;
    attempts?: number | undefined;
    ambiguous?: boolean | undefined;
    rejected?: SmtpRecipient[] | undefined;
    deferred?: SmtpRecipient[] | undefined;
  });
  readonly kind: SmtpVerdict['kind'];
  readonly reason: SmtpVerdict['reason'];
  readonly retryable: boolean;
  /** Whether it may have been delivered all the same. */
  readonly ambiguous: boolean;
  readonly responseCode: number | undefined;
  readonly enhancedCode: string | undefined;
  readonly command: string | undefined;
  readonly messageId: string | undefined;
  readonly attempts: number;
  readonly rejected: SmtpRecipient[];
  readonly deferred: SmtpRecipient[];
  readonly verdict: SmtpVerdict;
  /** Whether retry() stops at it. */
  readonly bail: boolean;
  toJSON (): object;
}

/** What nodemailer.createTransport() makes, as far as it is needed. */
export interface SmtpTransport {
  sendMail (message: any): Promise<any>;
  verify? (): Promise<any>;
  close? (): unknown;
}

export interface SmtpClientOptions {
  /** One that nodemailer.createTransport() made; it stays the caller's. */
  transport?: SmtpTransport | undefined;
  /** Otherwise what nodemailer.createTransport() takes; needs the package nodemailer. */
  smtp?: object | string | undefined;
  /**
   * Whether to refuse to send passwords and mails to a server that offers no TLS (STARTTLS).
   * Default true, unless the host is this machine (localhost, 127.0.0.0/8, ::1); nodemailer's own
   * requireTLS in `smtp` counts if this is not given. `secure` begins with TLS in any case. Cannot
   * be given together with a transport. nodemailer's ignoreTLS and opportunisticTLS need `false`.
   */
  requireTls?: boolean | undefined;
  /** Sender of messages that name none. */
  from?: SmtpAddress | undefined;
  /** Laid under every message. */
  defaults?: SmtpMail | undefined;
  /** Mails on their way at once, default 5. Waiting does not count towards `timeout`. */
  maxConnections?: number | undefined;
  /** Mails that may wait, default 1000. */
  maxQueue?: number | undefined;
  /** ms that a mail may wait, default Infinity. */
  queueTimeout?: number | undefined;
  /** ms of one attempt, default 5000. */
  timeout?: number | undefined;
  /** Over retryPresets.email; false for none. */
  retry?: Omit<retry.Options, 'signal'> | false | undefined;
  /** Over presets.smtp and a volumeThreshold of 5; false for none. */
  breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options | false | undefined;
  /** Whether silence after the last line is followed by another attempt, default true. */
  resendAmbiguous?: boolean | undefined;
  /** ms after which a pause because of a used-up quota ends by itself, default 3600000. */
  resumeAfter?: number | undefined;
}

export interface SmtpClientEvents {
  /** Another attempt follows, in `delay` ms. */
  retry: [{ messageId: string; attempt: number; error: SmtpError; delay: number }];
  /**
   * No message gets through: until somebody fixes it (the breaker has opened), or, for the kinds
   * quota and rate, for a while (the client is paused). If the pause keeps returning, it is
   * repeated at most once an hour.
   */
  alert: [{ kind: SmtpReason; error: SmtpError }];
  paused: [SmtpPause];
  resumed: [{ reason: string }];
}

export class SmtpClient extends EventEmitter {
  /** @throws ERR_INVALID_OPTION, ERR_MISSING_PEER */
  constructor (options: SmtpClientOptions);
  readonly breaker: CircuitBreaker<any, any>;
  /** Mails on their way. */
  readonly active: number;
  /** Mails that wait for their turn. */
  readonly queued: number;
  /** Why the client is paused; null when it is not. */
  readonly paused: SmtpPause | null;
  /** Stops sending until resume(). Waiting mails are rejected, and can be sent again later. */
  pause (reason?: string): void;
  /** Sends again. Returns whether it was paused. */
  resume (): boolean;
  /**
   * Sends a message, and again what the server could not take at once. Resolves when at least one
   * recipient's server took it; rejects with an SmtpError when none did, with ERR_INVALID_INPUT and
   * `faults` before anything is sent.
   */
  send (message: SmtpMail, options?: { signal?: AbortSignal | undefined }): Promise<SmtpResult>;
  /** Checks a message as send() does, and sends nothing. @throws ERR_INVALID_INPUT */
  check (message: SmtpMail): void;
  /** Connects, signs in and leaves; passes the breaker by. */
  verify (options?: { timeout?: number | undefined }): Promise<true>;
  close (): void;
  toJSON (): { name: string; active: number; queued: number };

  on<E extends keyof SmtpClientEvents> (
    event: E, listener: (...args: SmtpClientEvents[E]) => void): this;
  once<E extends keyof SmtpClientEvents> (
    event: E, listener: (...args: SmtpClientEvents[E]) => void): this;
}

export {};
