#include "rpc/tool/json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>

#include "p2p/base/text.h"

namespace helo::tool {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::ordered_json;

Json EnumToJson(const google::protobuf::EnumValueDescriptor& value) {
  if (value.number() == 0) return nullptr;
  if (value.name() == "INBOUND") return "in";
  if (value.name() == "OUTBOUND") return "out";
  return value.name();
}

Json StringToJson(const FieldDescriptor& field, const std::string& value) {
  return field.name() == "genesis" ? ToHex(AsBytes(value)) : value;
}

Json Unsigned(const FieldDescriptor& field, uint64_t value) {
  if (field.name() == "boot_id") return std::to_string(value);
  return value;
}

Json SingularToJson(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetInt32(message, &field);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetInt64(message, &field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.GetUInt32(message, &field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return Unsigned(field, reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetDouble(message, &field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection.GetFloat(message, &field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumToJson(*reflection.GetEnum(message, &field));
    case FieldDescriptor::CPPTYPE_STRING:
      return StringToJson(field, reflection.GetString(message, &field));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(reflection.GetMessage(message, &field));
  }
  return nullptr;
}

Json ElementToJson(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetRepeatedInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetRepeatedInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.GetRepeatedUInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return Unsigned(field, reflection.GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetRepeatedDouble(message, &field, index);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection.GetRepeatedFloat(message, &field, index);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetRepeatedBool(message, &field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumToJson(*reflection.GetRepeatedEnum(message, &field, index));
    case FieldDescriptor::CPPTYPE_STRING:
      return StringToJson(field, reflection.GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(reflection.GetRepeatedMessage(message, &field, index));
  }
  return nullptr;
}

Json MapToJson(const Message& message, const FieldDescriptor& field) {
  Json object = Json::object();
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    const FieldDescriptor& key = *entry.GetDescriptor()->map_key();
    const Json name = SingularToJson(entry, key);
    object[name.is_string() ? name.get<std::string>() : name.dump()] =
        SingularToJson(entry, *entry.GetDescriptor()->map_value());
  }
  return object;
}

}  // namespace

Json ToJson(const Message& message) {
  Json object = Json::object();
  const google::protobuf::Descriptor& descriptor = *message.GetDescriptor();
  // Appended, not assigned by name: ordered_json would look through all earlier fields for each.
  auto& fields = object.get_ref<Json::object_t&>();
  fields.reserve(static_cast<size_t>(descriptor.field_count()));
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    if (field.is_map()) {
      fields.emplace_back(field.name(), MapToJson(message, field));
    } else if (field.is_repeated()) {
      Json array = Json::array();
      for (int k = 0; k < reflection.FieldSize(message, &field); ++k) {
        array.push_back(ElementToJson(message, field, k));
      }
      fields.emplace_back(field.name(), std::move(array));
    } else if (!field.has_presence() || reflection.HasField(message, &field)) {
      fields.emplace_back(field.name(), SingularToJson(message, field));
    } else if (field.real_containing_oneof() == nullptr) {
      fields.emplace_back(field.name(), nullptr);
    }
  }
  return object;
}

std::string Document(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string Line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace helo::tool
