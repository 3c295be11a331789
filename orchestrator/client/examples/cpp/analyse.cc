// Sends images to the service and prints what each cell is: analyse HOST:PORT FILE...
//
//   protoc -I ../../protos --cpp_out=. --grpc_out=. --plugin=protoc-gen-grpc=$(which grpc_cpp_plugin) wbc/v1/wbc.proto
//   c++ -std=c++17 -I. analyse.cc wbc/v1/wbc.pb.cc wbc/v1/wbc.grpc.pb.cc -o analyse -lgrpc++ -lgpr -lprotobuf
//
// All files go over one stream, from a thread of their own: the service reads no further than it works, so who
// sends everything before he reads an answer would wait for ever. The correlation id is the place of the file, not
// its name, which may be a patient's.
// For research use only. Not for use in diagnostic procedures.
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "wbc/v1/wbc.grpc.pb.h"

namespace {

std::string ReadFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: analyse HOST:PORT FILE...\n";
    return 2;
  }
  const std::vector<const char*> paths(argv + 2, argv + argc);
  // A key of `wbc keys` would travel as context.AddMetadata("authorization", "Bearer wbc_...").
  const auto channel = grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials());
  const auto stub = wbc::v1::Analyzer::NewStub(channel);

  grpc::ClientContext context;
  const auto stream = stub->AnalyzeStream(&context);
  std::thread sender([&] {
    for (std::size_t place = 0; place < paths.size(); ++place) {
      wbc::v1::AnalyzeStreamRequest request;
      request.set_correlation_id(std::to_string(place));
      request.set_image(ReadFile(paths[place]));
      request.mutable_options()->set_heatmap_format(wbc::v1::HEATMAP_FORMAT_JPEG);
      if (!stream->Write(request)) return;  // the call has ended
    }
    stream->WritesDone();
  });

  std::size_t failed = 0;
  wbc::v1::AnalyzeStreamResponse response;
  while (stream->Read(&response)) {
    std::cout << response.correlation_id() << '\t';
    if (response.has_error()) {
      ++failed;
      std::cout << response.error().reason() << '\t' << response.error().message() << '\n';
      continue;
    }
    const auto& analysis = response.analysis();
    std::cout << wbc::v1::CellClass_Name(analysis.decision().cell_class()) << '\t'
              << analysis.decision().confidence() << '\t' << (analysis.needs_review() ? "review" : "sure") << '\t'
              << analysis.heatmap().data().size() << '\t' << analysis.disclaimer() << '\n';
  }
  sender.join();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) {
    std::cerr << status.error_code() << ": " << status.error_message() << '\n';
    return 1;
  }
  return failed == 0 ? 0 : 3;
}
