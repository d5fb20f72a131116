variable "release" {
  description = "Name of the Helm release; objects are named after it."
  type        = string
  default     = "wolfpack"

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", var.release))
    error_message = "release has to be 1 to 40 of a-z, 0-9 and -, and begin with a letter."
  }
}

variable "namespace" {
  description = "Namespace of the release. One release for each namespace."
  type        = string
  default     = "wolfpack"
}

variable "create_namespace" {
  description = "Make the namespace if it is not there. The Secret has to be in it before pods can start."
  type        = bool
  default     = false
}

variable "chart" {
  description = "Folder, archive or OCI address of the chart. Default: the one beside this module."
  type        = string
  default     = null
}

variable "image" {
  description = "Where the image comes from. Without a tag: the chart's version."
  type = object({
    repository   = string
    tag          = optional(string, "")
    pull_secrets = optional(list(string), [])
  })
}

variable "existing_secret" {
  description = "A Secret of the namespace with database-url, api-key-secret and metrics-token, and runner-token where hosts enrol with one. No secret passes through Terraform, whose state would keep it."
  type        = string
  default     = "wolfpack-control-plane"
}

variable "host" {
  description = "Under which name users and agents come, without https://."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", var.host))
    error_message = "host is a name such as fleet.example.com, without https:// and without a path."
  }
}

variable "ingress_class" {
  description = "The ingress controller that is to serve it."
  type        = string
  default     = "nginx"
}

variable "ingress_annotations" {
  description = "More annotations of the ingress, such as that of an issuer of certificates. They are laid over the chart's."
  type        = map(string)
  default     = {}
}

variable "tls_secret" {
  description = "A Secret with the certificate of the host."
  type        = string
  default     = "wolfpack-tls"
}

variable "trusted_proxies" {
  description = "Addresses and networks of the ingress controller's pods, whose X-Forwarded-* is believed. Empty: nobody's."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for network in var.trusted_proxies : can(cidrhost(network, 0)) || can(cidrhost("${network}/32", 0)) || can(cidrhost("${network}/128", 0))])
    error_message = "trusted_proxies are addresses and networks such as 10.42.0.0/16."
  }
}

variable "settings" {
  description = "Any other variable of docs/operations/configuration.md. No secrets."
  type        = map(string)
  default     = {}
}

variable "replicas" {
  description = "Replicas at least; without autoscaling exactly so many. From two on one may be missed."
  type        = number
  default     = 2

  validation {
    condition     = var.replicas >= 1 && var.replicas <= 50 && floor(var.replicas) == var.replicas
    error_message = "replicas is a whole number from 1 to 50."
  }
}

variable "autoscaling" {
  description = "More replicas by live tunnels; needs an adapter that serves wolfpack_tunnels (deploy/prometheus/adapter-rules.yaml). Null: none."
  type = object({
    max_replicas        = optional(number, 8)
    tunnels_per_replica = optional(number, 2500)
  })
  default = null
}

variable "service_monitor" {
  description = "Make a ServiceMonitor, which needs the Prometheus operator."
  type        = bool
  default     = false
}

variable "extra_values" {
  description = "More values of the chart, laid over those that the variables above make."
  type        = any
  default     = {}
}

variable "timeout_seconds" {
  description = "For the pods of a new version to be ready, one after the other, with the database's migration."
  type        = number
  default     = 900
}
