#include "rpc/service/reflection.h"

#include <absl/container/flat_hash_set.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace helo::rpc {
namespace {

namespace v1alpha = grpc::reflection::v1alpha;
using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using Request = v1alpha::ServerReflectionRequest;
using Response = v1alpha::ServerReflectionResponse;

constexpr char kOwnName[] = "grpc.reflection.v1alpha.ServerReflection";

void SayError(grpc::StatusCode code, const char* words, Response& response) {
  v1alpha::ErrorResponse& error = *response.mutable_error_response();
  error.set_error_code(code);
  error.set_error_message(words);
}

void AddFile(const FileDescriptor& file, absl::flat_hash_set<const FileDescriptor*>& added,
             v1alpha::FileDescriptorResponse& response) {
  if (!added.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), added, response);
}

// The file and all that it needs.
void SayFile(const FileDescriptor* file, const char* if_none, Response& response) {
  if (file == nullptr) return SayError(grpc::StatusCode::NOT_FOUND, if_none, response);
  absl::flat_hash_set<const FileDescriptor*> added;
  AddFile(*file, added, *response.mutable_file_descriptor_response());
}

void SayExtension(const v1alpha::ExtensionRequest& asked, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const Descriptor* type = pool.FindMessageTypeByName(asked.containing_type());
  const FieldDescriptor* extension =
      type == nullptr ? nullptr : pool.FindExtensionByNumber(type, asked.extension_number());
  SayFile(extension == nullptr ? nullptr : extension->file(), "Extension not found.", response);
}

void SayExtensionNumbers(const std::string& name, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const Descriptor* type = pool.FindMessageTypeByName(name);
  if (type == nullptr) {
    return SayError(grpc::StatusCode::NOT_FOUND, "Type not found.", response);
  }
  v1alpha::ExtensionNumberResponse& numbers = *response.mutable_all_extension_numbers_response();
  numbers.set_base_type_name(name);
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(type, &extensions);
  for (const FieldDescriptor* extension : extensions) {
    numbers.add_extension_number(extension->number());
  }
}

void Answer(const Request& request, const std::vector<std::string>& services, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response.Clear();
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return SayFile(pool.FindFileByName(request.file_by_filename()), "File not found.", response);
    case Request::kFileContainingSymbol:
      return SayFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                     "Symbol not found.", response);
    case Request::kFileContainingExtension:
      return SayExtension(request.file_containing_extension(), response);
    case Request::kAllExtensionNumbersOfType:
      return SayExtensionNumbers(request.all_extension_numbers_of_type(), response);
    case Request::kListServices:
      for (const std::string& name : services) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      return;
    case Request::MESSAGE_REQUEST_NOT_SET:
      return SayError(grpc::StatusCode::INVALID_ARGUMENT, "The request asks for nothing.",
                      response);
  }
}

// A question, its answer, the next question: one operation at a time. When the caller has said its
// last, or is gone, or the node stops, it fails.
class Stream final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Stream(const std::vector<std::string>& services) : services_(services) {
    StartRead(&request_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    Answer(request_, services_, response_);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

  const std::vector<std::string>& services_;
  Request request_;
  Response response_;
};

class Service final : public ReflectionService, public v1alpha::ServerReflection::CallbackService {
 public:
  explicit Service(std::vector<std::string> services) : services_(std::move(services)) {
    services_.emplace_back(kOwnName);
  }
  void Register(grpc::ServerBuilder& builder) override { builder.RegisterService(this); }

 private:
  grpc::ServerBidiReactor<Request, Response>* ServerReflectionInfo(
      grpc::CallbackServerContext* /*context*/) override {
    return new Stream(services_);
  }

  std::vector<std::string> services_;
};

}  // namespace

std::unique_ptr<ReflectionService> ReflectionService::Make(std::vector<std::string> services) {
  return std::make_unique<Service>(std::move(services));
}

}  // namespace helo::rpc
