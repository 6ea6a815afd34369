// Readers of single kinds: tree in, typed value out, problems noted on the way. `object` is the whole document.
#pragma once

#include "lib/manifest/object.h"
#include "lib/manifest/reader.h"

namespace weft::manifest::detail {

Meta decode_meta(const Reader& metadata);

// core.cc
Pod decode_pod(const Reader& object);
PodTemplate decode_pod_template(const Reader& object);
PodTemplate decode_cron_job(const Reader& object);
Service decode_service(const Reader& object);
EndpointSlice decode_endpoint_slice(const Reader& object);
ConfigMap decode_config_map(const Reader& object);

// networking.cc
WorkloadEntry decode_workload_entry(const Reader& object);
WorkloadGroup decode_workload_group(const Reader& object);
ServiceEntry decode_service_entry(const Reader& object);
Gateway decode_gateway(const Reader& object);
GatewayClass decode_gateway_class(const Reader& object);

// security.cc
// Of what the kind does not know (FieldIgnored) in a rule, the rule is incomplete; elsewhere in the specification the policy
// is unreadable, and a PeerAuthentication STRICT.
PeerAuthentication decode_peer_authentication(const Reader& object, const std::vector<Problem>& unknown_fields);
AuthorizationPolicy decode_authorization_policy(const Reader& object, const std::vector<Problem>& unknown_fields);

}  // namespace weft::manifest::detail
