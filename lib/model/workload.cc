#include "lib/model/workload.h"

namespace weft::model {

std::string_view to_string(WorkloadType type) {
  switch (type) {
    case WorkloadType::kDeployment: return "deployment";
    case WorkloadType::kCronJob: return "cronjob";
    case WorkloadType::kPod: return "pod";
    case WorkloadType::kJob: return "job";
  }
  return "deployment";
}

}  // namespace weft::model
