// Arguments and results of exported functions. They are plain functions, the cheapest call that
// Node-API offers: about 20 ns, against more than 100 ns for a method of a wrapped object.
//
// JavaScript checks all options before it calls. An argument that is not what the function needs is
// an error in our JavaScript, and throws a TypeError.

#ifndef SEKERING_BINDING_CONVERT_H_
#define SEKERING_BINDING_CONVERT_H_

#include <napi.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "core/units.h"

namespace sekering {

inline napi_value Throw(napi_env env, const char* message) {
  napi_throw_type_error(env, nullptr, message);
  return nullptr;
}

/// A call of an exported function: its arguments, and the object that Export was given.
template <class Api, size_t kCount>
class Call {
 public:
  Call(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = kCount;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, values_.data(), nullptr, &data);
    api_ = static_cast<Api*>(data);
  }

  napi_env env() const { return env_; }
  Api& api() const { return *api_; }
  napi_value operator[](size_t i) const { return values_[i]; }

  /// NaN if it is not a number.
  double Double(size_t i) const {
    double value = 0;
    const bool is_number = napi_get_value_double(env_, values_[i], &value) == napi_ok;
    return is_number ? value : std::numeric_limits<double>::quiet_NaN();
  }

  /// False if it is not a boolean.
  bool Bool(size_t i) const {
    bool value = false;
    napi_get_value_bool(env_, values_[i], &value);
    return value;
  }

  /// Modulo 2^32, as JavaScript's operators convert numbers.
  uint32_t Uint32(size_t i) const {
    uint32_t value = 0;
    napi_get_value_uint32(env_, values_[i], &value);
    return value;
  }

  /// A number that names something. What is not such a number is kNoId, which names nothing.
  uint32_t Id(size_t i) const {
    const double value = Double(i);
    return value >= 0 && value < kNoId && value == std::floor(value) ? static_cast<uint32_t>(value)
                                                                     : kNoId;
  }

  std::string Text(size_t i) const { return Napi::String(env_, values_[i]).Utf8Value(); }

  /// The content of a Float64Array; empty if it is something else.
  std::span<double> Numbers(size_t i) const {
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    const napi_status status =
        napi_get_typedarray_info(env_, values_[i], &type, &length, &data, nullptr, nullptr);
    if (status != napi_ok || type != napi_float64_array) return {};
    return {static_cast<double*>(data), length};
  }

 private:
  static constexpr uint32_t kNoId = UINT32_MAX;

  napi_env env_;
  std::array<napi_value, kCount> values_{};
  Api* api_;
};

inline napi_value ToJs(napi_env env, uint32_t value) {
  napi_value result = nullptr;
  napi_create_uint32(env, value, &result);
  return result;
}

inline napi_value ToJs(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

inline napi_value ToJs(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

/// A wait in milliseconds, Infinity for never.
inline napi_value WaitToJs(napi_env env, Micros wait) {
  return ToJs(env, wait >= kNever ? std::numeric_limits<double>::infinity() : ToMillis(wait));
}

struct ExportedFunction {
  const char* name;
  napi_callback callback;
};

/// The functions get `api` as Call's.
template <class Api, size_t kCount>
void Export(Napi::Env env, Napi::Object exports, Api* api,
            const ExportedFunction (&functions)[kCount]) {
  for (const auto& [name, callback] : functions) {
    napi_value function = nullptr;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, api, &function);
    exports.Set(name, Napi::Value(env, function));
  }
}

/// A typed array that JavaScript owns and native code reads and writes. Its memory stays in place
/// for as long as the reference is held.
template <class T>
class Shared {
 public:
  void Reset(Napi::Env env, napi_value typed_array) {
    void* data = nullptr;
    size_t length = 0;
    napi_value buffer = nullptr;
    if (napi_get_typedarray_info(env, typed_array, nullptr, &length, &data, &buffer, nullptr) !=
        napi_ok) {
      return;
    }
    data_ = static_cast<T*>(data);
    length_ = length;
    reference_ = Napi::Persistent(Napi::Object(env, buffer));
  }

  T& operator[](size_t i) const { return data_[i]; }
  T* data() const { return data_; }
  size_t length() const { return length_; }
  std::span<T> span() const { return {data_, length_}; }

 private:
  T* data_ = nullptr;
  size_t length_ = 0;
  Napi::ObjectReference reference_;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_CONVERT_H_
