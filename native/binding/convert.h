// Plain exported functions: the cheapest call that Node-API offers (about 20 ns, against more than
// 100 ns for a method of a wrapped object). JavaScript checks all options before it calls; these
// helpers assert what must hold and never throw.

#ifndef SEKERING_BINDING_CONVERT_H_
#define SEKERING_BINDING_CONVERT_H_

#include <napi.h>

#include <array>
#include <cassert>
#include <cstdint>

namespace sekering {

/// The arguments of one call, and the `data` pointer that Export was given.
template <size_t kCount>
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = kCount;
    [[maybe_unused]] const napi_status status =
        napi_get_cb_info(env, info, &count, values_.data(), nullptr, &data_);
    assert(status == napi_ok);
  }

  template <class T>
  T* Data() const {
    return static_cast<T*>(data_);
  }

  uint32_t Uint32(size_t i) const {
    uint32_t value = 0;
    napi_get_value_uint32(env_, values_[i], &value);
    return value;
  }

  double Double(size_t i) const {
    double value = 0;
    napi_get_value_double(env_, values_[i], &value);
    return value;
  }

  napi_value operator[](size_t i) const { return values_[i]; }

 private:
  napi_env env_;
  std::array<napi_value, kCount> values_{};
  void* data_ = nullptr;
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

inline void Export(Napi::Env env, Napi::Object exports, const char* name, napi_callback callback,
                   void* data) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &function);
  exports.Set(name, Napi::Value(env, function));
}

/// A typed array that JavaScript owns and native code reads and writes. Its memory stays in place
/// for as long as the reference is held.
template <class T>
class Shared {
 public:
  void Reset(Napi::Env env, napi_value typed_array) {
    void* data = nullptr;
    size_t length = 0;
    napi_typedarray_type type;
    napi_value buffer = nullptr;
    size_t offset = 0;
    [[maybe_unused]] const napi_status status =
        napi_get_typedarray_info(env, typed_array, &type, &length, &data, &buffer, &offset);
    assert(status == napi_ok);
    data_ = static_cast<T*>(data);
    length_ = length;
    reference_ = Napi::Persistent(Napi::Object(env, buffer));
  }

  T& operator[](size_t i) const { return data_[i]; }
  T* data() const { return data_; }
  size_t length() const { return length_; }

 private:
  T* data_ = nullptr;
  size_t length_ = 0;
  Napi::ObjectReference reference_;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_CONVERT_H_
