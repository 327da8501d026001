public let migrationsPlaceholder = 0
