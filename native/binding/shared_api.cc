#include "binding/shared_api.h"

#include <string>

#include "binding/breaker_config.h"
#include "binding/convert.h"
#include "core/shared_bulkhead.h"

namespace sekering {

/// Each is one exported function; its comment gives the JavaScript signature.
struct SharedFunctions {
  template <size_t kCount>
  struct Call : Arguments<kCount> {
    Call(napi_env env, napi_callback_info info)
        : Arguments<kCount>(env, info), api(*this->template Data<SharedApi>()) {}
    SharedApi& api;
  };

  static std::string Text(napi_env env, napi_value value) {
    return Napi::String(env, value).Utf8Value();
  }

  /// regionLayout(): the part of a region's file name that stands for its layout
  static napi_value Layout(napi_env env, napi_callback_info) {
    constexpr uint64_t kShapes[] = {
        sizeof(BreakerMemory),
        kProbesMax,
        kHistoryMax,
        kWitnessesMax,
        kCounters,
        kLatencyCells,
        kHotLatencyCells,
        kBucketsMax,
        LastCalls::kSizeMax,
        kConfigFields,
        sizeof(SharedBulkheadState),
        kIncarnations,
        sizeof(TokenBucket),
        sizeof(RetryBudget),
    };
    return Napi::String::New(env, Region::LayoutName(kShapes));
  }

  /// joinRegion(path): its handle, or minus a RegionError
  static napi_value Join(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, static_cast<double>(call.api.regions_.Join(Text(env, call[0]).c_str())));
  }

  /// regionInfo(handle): { participants, records, repaired, replaced }
  static napi_value Info(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    const Region& region = call.api.regions_[call.Uint32(0)].region;
    Napi::Object result = Napi::Object::New(env);
    result.Set("participants", region.LiveParticipants());
    result.Set("records", static_cast<uint32_t>(region.Records().size()));
    result.Set("repaired", region.repaired());
    result.Set("replaced", region.replaced());
    return result;
  }

  /// regionRepairs(handle): how many damaged records this environment has replaced
  static napi_value Repairs(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.api.regions_[call.Uint32(0)].region.repaired());
  }

  /// attachBreaker(handle, name, config: Float64Array, stored: Float64Array): the breaker's id, or
  /// why there is none (binding/shared.h). `stored` gets the configuration that the breaker has.
  static napi_value AttachBreaker(napi_env env, napi_callback_info info) {
    Call<4> call(env, info);
    Recorder& recorder = call.api.recorder_;
    if (!recorder.HasFreeCell()) return ToJs(env, kNoCells);
    const Description description = DescriptionOf(env, call[2]);
    const BreakerConfig config = ConfigOf(description, true);
    const RecordKey key{static_cast<uint32_t>(RecordKind::kBreaker), Text(env, call[1]),
                        description, Breaker::HotCells(config), Breaker::ColdCells(config)};
    const Attached attached = AttachRecord(env, call.api.regions_[call.Uint32(0)], key, call[3]);
    if (attached.error != 0) return ToJs(env, attached.error);
    const uint32_t id = recorder.CreateShared(config, *attached.record);
    return id == Recorder::kNoId ? ToJs(env, kNoMemory) : ToJs(env, id);
  }

  /// onNews(callback(id)): called for each shared breaker that another environment has changed
  static napi_value OnNews(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.api.on_news_ = Napi::Persistent(Napi::Function(env, call[0]));
    return nullptr;
  }
};

void SharedApi::OnNews(void* context, uint32_t id) {
  auto* api = static_cast<SharedApi*>(context);
  BreakerEntry& entry = api->recorder_.Entry(id);
  if (!entry.live || entry.breaker.generation() == entry.seen_generation) return;
  Recorder::Publish(entry);
  if (api->on_news_.IsEmpty()) return;
  const Napi::HandleScope scope(api->env_);
  api->on_news_.MakeCallback(api->env_.Global(), {Napi::Number::New(api->env_, id)});
}

SharedApi::SharedApi(Napi::Env env, Napi::Object exports, Recorder& recorder)
    : env_(env), recorder_(recorder), regions_(env, OnNews, this) {
  using F = SharedFunctions;
  Export(env, exports, "regionLayout", F::Layout, this);
  Export(env, exports, "joinRegion", F::Join, this);
  Export(env, exports, "regionInfo", F::Info, this);
  Export(env, exports, "regionRepairs", F::Repairs, this);
  Export(env, exports, "attachBreaker", F::AttachBreaker, this);
  Export(env, exports, "onNews", F::OnNews, this);
}

}  // namespace sekering
