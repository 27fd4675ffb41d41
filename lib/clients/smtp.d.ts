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

export interface SmtpVerdict {
  /** retry: it may pass. permanent: it fails again. ours: credentials, certificate, settings. */
  kind: 'retry' | 'permanent' | 'ours';
  /** Whether the message may be sent again, be it after a repair. */
  retryable: boolean;
  /** Whether it counts against the server. */
  trips: boolean;
  alert: boolean;
  responseCode: number | undefined;
}

/** Judges an error of nodemailer's, or of a breaker or limit around it. */
export function classifySmtpError (error: unknown): SmtpVerdict;

/** Why a message was not sent; `code` is nodemailer's, the breaker's or the limit's. */
export class SmtpError extends SekeringError {
  constructor (cause: unknown, details?: {
    messageId?: string | undefined;
    attempts?: number | undefined;
    ambiguous?: boolean | undefined;
    rejected?: SmtpRecipient[] | undefined;
    deferred?: SmtpRecipient[] | undefined;
  });
  readonly kind: SmtpVerdict['kind'];
  readonly retryable: boolean;
  /** Whether it may have been delivered all the same. */
  readonly ambiguous: boolean;
  readonly responseCode: number | undefined;
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
}

export interface SmtpClientEvents {
  /** Another attempt follows, in `delay` ms. */
  retry: [{ messageId: string; attempt: number; error: SmtpError; delay: number }];
  /** No message gets through until somebody mends something. The breaker has opened. */
  alert: [{ kind: 'credentials' | 'certificate' | 'configuration'; error: SmtpError }];
}

export class SmtpClient extends EventEmitter {
  /** @throws ERR_INVALID_OPTION, ERR_MISSING_PEER */
  constructor (options: SmtpClientOptions);
  readonly breaker: CircuitBreaker<any, any>;
  /** Mails on their way. */
  readonly active: number;
  /** Mails that wait for their turn. */
  readonly queued: number;
  /**
   * Sends a message, and again what the server could not take at once. Resolves when at least one
   * recipient's server took it; rejects with an SmtpError when none did, with ERR_INVALID_INPUT and
   * `faults` before anything is sent.
   */
  send (message: SmtpMail, options?: { signal?: AbortSignal | undefined }): Promise<SmtpResult>;
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
