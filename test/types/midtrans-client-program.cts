// A program written for midtrans-client, with nothing but the import changed.

import midtransClient = require('sekering/midtrans-client');

const keys = { isProduction: false, serverKey: 'key', clientKey: 'client' };
const snap = new midtransClient.Snap(keys);
const core = new midtransClient.CoreApi({ ...keys, clientKey: undefined });
const iris = new midtransClient.Iris({ isProduction: false, serverKey: 'key' });
const empty: midtransClient.Snap = new midtransClient.Snap();

empty.apiConfig.set({ serverKey: 'key' });
empty.apiConfig.isProduction = true;
snap.httpClient.http_client.defaults.timeout = 2500;
snap.httpClient.http_client.defaults.headers.common['X-Override-Notification'] = 'https://a.id';
snap.httpClient.http_client.interceptors.request.use(config => config, error => { throw error; });
snap.breaker.on('open', () => console.log(snap.breaker.name));

interface Notice { transaction_id: string; order_id: string }

async function shop (notice: Notice | string): Promise<string> {
  const parameter = { transaction_details: { order_id: 'a', gross_amount: 200_000 } };
  const { token, redirect_url: url } = await snap.createTransaction(parameter);
  const same: string = await snap.createTransactionToken(JSON.stringify(parameter));
  try {
    await core.charge({ payment_type: 'gopay', ...parameter });
    await core.transaction.refund(12345, { amount: 5000 });
    await iris.createPayouts({ payouts: [] });
    const status = await core.transaction.notification(notice);
    if (status.transaction_status === 'capture' && status.fraud_status === 'accept') return same;
  } catch (error) {
    if (error instanceof midtransClient.MidtransError) {
      const code: number | string | null = error.httpStatusCode;
      console.log(code, error.ApiResponse.status_message, error.rawHttpClientData.status);
    }
  }
  return token + url;
}

const guarded = new midtransClient.CoreApi(keys, {
  timeout: 5000, retry: { retries: 1 }, breaker: { errorThresholdPercentage: 30 },
});
// @ts-expect-error
new midtransClient.Snap(keys, { timeOut: 5000 });

midtransClient.SnapBiConfig.snapBiClientId = 'id';
midtransClient.SnapBi.va().withBody({}).withTimeout(5000).createPayment('external')
  .then(answer => console.log(answer.responseCode));

export = { shop, guarded };
