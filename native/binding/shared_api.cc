#include "binding/shared_api.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "binding/waker.h"
#include "core/breaker_config.h"
#include "core/host.h"

namespace sekering {
namespace {

/// Above it, joinRegion returns minus an errno. lib/base/regions.js has the same number.
constexpr double kErrnoFrom = 1000;

}  // namespace

/// Each is one exported function; its comment gives the JavaScript signature.
struct SharedFunctions {
  template <size_t kCount>
  using Call = sekering::Call<SharedApi, kCount>;

  template <class Use>
  static napi_value WithRegion(napi_env env, napi_callback_info info, const Use& use) {
    const Call<1> call(env, info);
    SharedRegion* const region = call.api().Find(call.Id(0));
    if (region == nullptr) return Throw(env, "There is no region with this handle");
    return use(region->region());
  }

  /// regionLayout(): the part of a region's file name that stands for its layout
  static napi_value Layout(napi_env env, napi_callback_info) {
    return Napi::String::New(env, SharedRegion::LayoutName());
  }

  /// joinRegion(path, watched): its handle, or minus a RegionError, or minus (kErrnoFrom + errno).
  /// If it is not watched, somebody must look for news.
  static napi_value Join(napi_env env, napi_callback_info info) {
    const Call<2> call(env, info);
    SharedApi& api = call.api();
    auto joined = std::make_unique<SharedRegion>();
    const RegionError error = joined->Open(call.Text(0).c_str());
    if (error == RegionError::kSystem) return ToJs(env, -(kErrnoFrom + errno));
    if (error != RegionError::kNone) return ToJs(env, -static_cast<double>(error));
    SharedRegion& region = *joined;
    if (call.Bool(1)) {
      Waker::Start(env, joined->region(), [&api, &region] { api.OnNews(region); });
    }
    api.regions_.push_back(std::move(joined));
    return ToJs(env, static_cast<uint32_t>(api.regions_.size() - 1));
  }

  /// hostName(): with whom memory can be shared
  static napi_value Host(napi_env env, napi_callback_info) {
    return Napi::String::New(env, HostName());
  }

  /// startOfProcess(pid): a text that differs for each process of that number; '' if there is none
  static napi_value Start(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    const uint64_t start = StartOf(Process(call.Uint32(0)));
    return Napi::String::New(env, start == 0 ? "" : std::to_string(start));
  }

  /// lookForNews(handle): of a region that is not watched
  static napi_value Look(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    SharedRegion* const region = call.api().Find(call.Id(0));
    if (region == nullptr) return Throw(env, "There is no region with this handle");
    region->region().Silence();
    call.api().OnNews(*region);
    return nullptr;
  }

  /// removeRegion(path, isOver): whether there was one. Its participants keep using it together,
  /// unless they are about to end
  static napi_value Remove(napi_env env, napi_callback_info info) {
    const Call<2> call(env, info);
    return ToJs(env, RegionFile::Remove(call.Text(0).c_str(), call.Bool(1)));
  }

  /// removeUnusedRegion(path): whether there was one, and nobody took part in it
  static napi_value RemoveUnused(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    return ToJs(env, RegionFile::RemoveUnused(call.Text(0).c_str()));
  }

  /// isRegionUsed(path): whether there is one, and somebody takes part in it
  static napi_value IsUsed(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    return ToJs(env, RegionFile::IsUsed(call.Text(0).c_str()));
  }

  /// removeDeadBell(path): whether there was one, and no process had it
  static napi_value RemoveDeadBell(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    return ToJs(env, Doorbell::RemoveDead(call.Text(0).c_str()));
  }

  /// hideInRegions(): for an environment that is about to end
  static napi_value Hide(napi_env env, napi_callback_info info) {
    const Call<0> call(env, info);
    for (const auto& joined : call.api().regions_) joined->region().Hide();
    return nullptr;
  }

  /// regionInfo(handle): { participants, records, repaired, replaced }
  static napi_value Info(napi_env env, napi_callback_info info) {
    return WithRegion(env, info, [env](const Region& region) -> napi_value {
      Napi::Object result = Napi::Object::New(env);
      result.Set("participants", region.LiveParticipants());
      result.Set("records", static_cast<uint32_t>(region.Records().size()));
      result.Set("repaired", region.repaired());
      result.Set("replaced", region.replaced());
      return result;
    });
  }

  /// regionRepairs(handle): how many damaged records this environment has replaced
  static napi_value Repairs(napi_env env, napi_callback_info info) {
    return WithRegion(env, info,
                      [env](const Region& region) { return ToJs(env, region.repaired()); });
  }

  /// attachBreaker(region, name, config: Float64Array, stored: Float64Array): the breaker's id, or
  /// minus a RegionError or a CreateError
  static napi_value AttachBreaker(napi_env env, napi_callback_info info) {
    const Call<4> call(env, info);
    Recorder& recorder = call.api().recorder_;
    const std::optional<BreakerConfig> config = BreakerConfigOf(call.Numbers(2), true);
    if (!config) return Throw(env, "This is not the configuration of a breaker");
    const RecordKey key{static_cast<uint32_t>(RecordKind::kBreaker), call.Text(1),
                        DescriptionOf(call.Numbers(2)), Breaker::HotCells(*config),
                        Breaker::ColdCells(*config)};
    napi_value answer = nullptr;
    SharedRecord* const record =
        AttachRecord(env, call.api().Find(call.Id(0)), key, call.Numbers(3), &answer);
    if (record == nullptr) return answer;
    const auto [id, error] = recorder.breakers().CreateShared(*config, *record, recorder.Now());
    return error == CreateError::kNone ? ToJs(env, id) : ToJs(env, -static_cast<double>(error));
  }

  /// onNews(callback(id)): called for each shared breaker that another environment has changed
  static napi_value OnNews(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    call.api().on_news_ = Napi::Persistent(Napi::Function(env, call[0]));
    return nullptr;
  }
};

void SharedApi::OnNews(SharedRegion& region) {
  const News news = region.region().TakeNews();
  if (news.moved && limits_ != nullptr) limits_->Follow();
  // The list is a copy, as a listener may create or drop breakers.
  for (const uint32_t id : region.BreakersIn(news)) {
    BreakerHandle* const breaker = recorder_.breakers().Find(id, recorder_.Now());
    if (breaker == nullptr || !breaker->HasTransitions()) continue;
    breaker->Publish();
    if (on_news_.IsEmpty()) continue;
    const Napi::HandleScope scope(env_);
    on_news_.MakeCallback(env_.Global(), {Napi::Number::New(env_, id)});
  }
}

SharedApi::SharedApi(Napi::Env env, Napi::Object exports, Recorder& recorder)
    : env_(env), recorder_(recorder) {
  using F = SharedFunctions;
  Export(env, exports, this,
         {{"regionLayout", F::Layout},
          {"joinRegion", F::Join},
          {"hostName", F::Host},
          {"startOfProcess", F::Start},
          {"lookForNews", F::Look},
          {"removeRegion", F::Remove},
          {"removeUnusedRegion", F::RemoveUnused},
          {"isRegionUsed", F::IsUsed},
          {"removeDeadBell", F::RemoveDeadBell},
          {"hideInRegions", F::Hide},
          {"regionInfo", F::Info},
          {"regionRepairs", F::Repairs},
          {"attachBreaker", F::AttachBreaker},
          {"onNews", F::OnNews}});
}

SharedRecord* AttachRecord(napi_env env, SharedRegion* region, RecordKey key,
                           std::span<double> stored, napi_value* answer) {
  if (region == nullptr) {
    *answer = Throw(env, "There is no region with this handle");
    return nullptr;
  }
  const SharedRegion::Attached attached = region->Attach(std::move(key));
  if (attached.description != nullptr) {
    const Description& description = *attached.description;
    std::copy_n(description.begin(), std::min(stored.size(), description.size()), stored.begin());
  }
  if (attached.record == nullptr) *answer = ToJs(env, -static_cast<double>(attached.error));
  return attached.record;
}

Description DescriptionOf(std::span<const double> numbers) {
  Description description{};
  std::copy_n(numbers.begin(), std::min(numbers.size(), description.size()), description.begin());
  return description;
}

}  // namespace sekering
