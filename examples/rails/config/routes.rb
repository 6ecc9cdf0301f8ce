Rails.application.routes.draw do
  post Rails.configuration.x.path, to: "webhooks#create"
  match Rails.configuration.x.path, to: "webhooks#not_allowed", via: :all
end
