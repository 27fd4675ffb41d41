export { useVirtualClock } from './virtual-clock';
export type { VirtualClock, VirtualClockOptions } from './virtual-clock';

import type { FaultFrequency } from './midtrans-fake';

export type { FaultFrequency };
export {
  MidtransFake, MidtransFakeOptions, MidtransFault, MidtransFaults,
  MidtransNotificationOptions, MidtransOrder, MidtransTransaction, startMidtransFake
} from './midtrans-fake';
export { TcpFaults, TcpProxy, startTcpProxy } from './tcp-proxy';

export interface SmtpFault extends FaultFrequency {
  /** When it strikes: at which command of SMTP. */
  stage: 'connect' | 'auth' | 'mail' | 'rcpt' | 'data';
  /** reply (default): an error code. drop (at data only): accepts the message, then cuts. */
  kind?: 'reply' | 'hang' | 'reset' | 'drop' | undefined;
  /** Of a reply, 400 to 599. */
  code?: number | undefined;
  /** The words after the status. */
  message?: string | undefined;
  /** Each envelope fails the first time only, as with greylisting. */
  once?: boolean | undefined;
  /** Strikes these recipients only, at rcpt. */
  recipients?: string[] | undefined;
}

export interface SmtpMessage {
  /** The sender of the envelope. */
  from: string;
  /** The recipients of the envelope. */
  to: string[];
  /** Of its header. */
  messageId: string | undefined;
  /** Of its header. */
  subject: string | undefined;
  /** When it arrived, as in Date.now(). */
  at: number;
  /** All of it, as it was sent. */
  raw: string;
}

export interface SmtpFake {
  /** Where it listens. */
  readonly host: string;
  /** Where it listens. */
  readonly port: number;
  /** The stage at which something goes wrong now. */
  readonly fault: SmtpFault['stage'] | null;
  /** The accepted messages, oldest first. */
  readonly messages: SmtpMessage[];
  /** How many there were since it was started. */
  readonly counts: Record<'connections' | 'accepted' | 'faulted', number>;
  /** Sets what goes wrong from now on; null: nothing. */
  set (fault: SmtpFault | SmtpFault[] | null): void;
  /** Stops listening, and cuts all connections. */
  close (): Promise<void>;
}

export interface SmtpFakeOptions {
  /** 0 (default) takes a free one. */
  port?: number | undefined;
  /** Default '127.0.0.1'. */
  host?: string | undefined;
  /** What clients must log in with. */
  auth?: { user: string; pass: string } | undefined;
  /** What goes wrong from the beginning. Default: nothing. */
  fault?: SmtpFault | SmtpFault[] | null | undefined;
  /** With a self-signed certificate. Default false. */
  tls?: false | 'starttls' | 'implicit' | undefined;
  /** ms before a message is accepted, default 0. */
  latencyMs?: number | undefined;
  /** How many messages it keeps, the newest ones; default 10000. */
  messagesMax?: number | undefined;
}

/** Starts an SMTP server on loopback. Needs the package smtp-server. */
export function startSmtpFake (options?: SmtpFakeOptions): Promise<SmtpFake>;

export interface WhatsAppFault extends FaultFrequency {
  /**
   * code: rejects as the Cloud API does. status: rejects as Green API does. hang: never answers.
   * reset: cuts before the message is accepted. html: the error page of a proxy. slow: accepts the
   * message late. drop: accepts it, then cuts without an answer.
   */
  kind: 'code' | 'status' | 'hang' | 'reset' | 'html' | 'slow' | 'drop';
  /** Of code. */
  code?: number | undefined;
  /** Of code, status (500) and html (502). */
  status?: number | undefined;
  /** The words of the error. */
  message?: string | undefined;
  /** Of slow, ms; default 3000. */
  delayMs?: number | undefined;
  /** Each recipient fails the first time only. */
  once?: boolean | undefined;
  /** Strikes this recipient only: its digits, or a chat. */
  recipient?: string | undefined;
}

/** A fault, its kind or its code, or several: the first that fits strikes. */
export type WhatsAppFaults = WhatsAppFault | WhatsAppFault['kind'] | number | null |
  Array<WhatsAppFault | WhatsAppFault['kind'] | number>;

export interface WhatsAppMessage {
  /** Which API it came by. */
  api: 'cloud' | 'green';
  /** As the answer gave it. */
  id: string;
  /** Digits, or a chat. */
  to: string;
  /** biz_opaque_callback_data. */
  reference: string | undefined;
  /** When it arrived, as in Date.now(). */
  at: number;
  /** What was sent. */
  body: any;
}

export interface WhatsAppFake {
  /** Where it listens. */
  readonly url: string;
  /** The options that a CloudApiClient needs to use this fake. */
  readonly cloud: {
    /** As in the options of this fake. */
    accessToken: string; phoneNumberId: string; appSecret: string; verifyToken: string;
    /** Where it listens. */
    baseUrl: string;
  };
  /** The options that a GreenApiClient needs to use this fake. */
  readonly green: {
    /** As in the options of this fake, and where it listens. */
    instanceId: string; token: string; webhookToken: string; baseUrl: string;
  };
  /** What goes wrong now. */
  readonly fault: WhatsAppFault['kind'] | null;
  /** The accepted messages, oldest first. */
  readonly messages: WhatsAppMessage[];
  /** The newest 1000 uploads by id. */
  readonly media: Map<string, { id: string; type: string; filename: string; data: Buffer }>;
  /** The newest 1000 requests that mark a message as read or show typing. */
  readonly receipts: Array<{ api: 'cloud' | 'green'; body: any }>;
  /** How many there were since it was started. */
  readonly counts: Record<'requests' | 'accepted' | 'refused' | 'unauthorized' | 'faulted', number>;
  /** Sets what goes wrong from now on; a number is a code, null: nothing. */
  set (fault: WhatsAppFaults): void;
  /** The body of a webhook with one status of a message. */
  statusOf (
    message: { id: string; to: string; reference?: string | undefined },
    status: 'sent' | 'delivered' | 'read' | 'failed', errors?: object[]): object;
  /** The body of a webhook with one message from a customer, whose number is `from`. */
  incomingOf (from: string, text: string): object;
  /** The body of a webhook of Green API: `content` has the other fields of this type. */
  greenWebhookOf (typeWebhook: string, content?: object): object;
  /** The header X-Hub-Signature-256 of a raw body. */
  sign (rawBody: string | Uint8Array): string;
  /**
   * Sends a webhook of the Cloud API, signed, or of Green API, with its token. Resolves with the
   * status of the answer.
   */
  notify (
    url: string, body: object,
    options?: { signature?: string | undefined; authorization?: string | undefined }
  ): Promise<number>;
  /** Stops listening, and cuts all connections. */
  close (): Promise<void>;
}

export interface WhatsAppFakeOptions {
  /** 0 (default) takes a free one. */
  port?: number | undefined;
  /** Default '127.0.0.1'. */
  host?: string | undefined;
  /** Of the Cloud API, default 'EAAfake-access-token'. */
  accessToken?: string | undefined;
  /** Of the Cloud API, default '100200300'. */
  phoneNumberId?: string | undefined;
  /** Of the Cloud API, default 'app-secret'. */
  appSecret?: string | undefined;
  /** Of the Cloud API, default 'verify-token'. */
  verifyToken?: string | undefined;
  /** Of Green API, default '1101000001'. */
  instanceId?: string | undefined;
  /** Of Green API. */
  token?: string | undefined;
  /** Of Green API, default 'green-webhook-token'. */
  webhookToken?: string | undefined;
  /** What goes wrong from the beginning. Default: nothing. */
  fault?: WhatsAppFaults | undefined;
  /** ms before each answer, default 0. */
  latencyMs?: number | undefined;
  /** Rejects messages to one number that follow sooner, with 131056; ms, default 0. */
  recipientIntervalMs?: number | undefined;
  /** How many messages it keeps, the newest ones; default 1000000. */
  messagesMax?: number | undefined;
}

/** Starts the Cloud API and Green API on one port of loopback. */
export function startWhatsAppFake (options?: WhatsAppFakeOptions): Promise<WhatsAppFake>;

export type SessionFault = 'connect-throws' | 'connect-rejects' | 'connect-hangs' |
  'never-opens' | 'closes' | 'qr' | 'send-rejects' | 'send-hangs' | 'destroy-hangs';

export interface SessionFake {
  /** The sent messages, oldest first. */
  readonly messages: Array<{ id: string; jid: string; content: any; at: number }>;
  /** Calls that mark a message as read or show typing, oldest first. */
  readonly receipts: any[];
  /** How often each instance was connected. */
  readonly connects: Map<string, number>;
  /** The option `connect` of a SessionPool. */
  readonly connect: (id: string) => Promise<any>;
  /** Makes a client as whatsapp-web.js does, for fromWhatsappWeb(). */
  readonly makeClient: (id: string) => any;
  /** Sets what goes wrong with an instance, or with all (`*`); null: nothing. */
  set (id: string, kind: SessionFault | null, error?: Error): void;
  /** The newest socket of an instance. */
  socketOf (id: string): any;
  /** Simulates a scan of the QR code. */
  scan (id: string): void;
  /**
   * Cuts an instance's connection; 401 ends its session for good. A client of whatsapp-web.js gets
   * the message as its reason.
   */
  disconnect (id: string, statusCode?: number, message?: string): void;
}

/** WhatsApp sessions without WhatsApp. */
export function startSessionFake (): SessionFake;
